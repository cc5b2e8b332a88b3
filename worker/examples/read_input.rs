fn main() {
    let mut bad=0;
    for p in std::env::args().skip(1) {
        let b = std::fs::read(&p).unwrap();
        match worker::input::read(&p, &b) { Ok(t) => { if std::env::var("V").is_ok() { println!("{p}: {t:?}") } else { println!("{p}: {} rows", t.id.len()) } }, Err(e) => { bad+=1; println!("{p}: {e}") } }
    }
    println!("bad {bad}");
}
