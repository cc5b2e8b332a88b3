use clap::Parser;
#[derive(Parser)]
enum Cli { Explore(sim::world::explore::Args), Replay(sim::world::replay::Args) }
fn main() -> std::process::ExitCode { std::panic::set_hook(Box::new(|_| {}));
    match Cli::parse() { Cli::Explore(a) => sim::world::explore::main(&a), Cli::Replay(a) => sim::world::replay::main(&a) }
}
