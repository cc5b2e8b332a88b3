# Recipes; `just` lists them. What needs more than Rust says so.

default:
    @just --list

# The batch on this machine, under simulated preemptions
run *args:
    cargo run --release -p sim -- run {{args}}

# The README's picture, from a run of now
picture:
    rm -rf out/picture
    cargo run --release -p sim -- run --out out/picture
    cp out/picture/sim/1/timeline.svg docs/timeline.svg

test:
    cargo test --workspace

# Schedules of preemptions and of a killed Redis on real processes (needs redis-server)
chaos schedules="200":
    CHAOS_SCHEDULES={{schedules}} cargo test --workspace --test chaos

# Schedules of faults of Google's APIs, with Ctrl-C at any request (about a minute on two cores)
deployer schedules="1000":
    DEPLOYER_SCHEDULES={{schedules}} cargo test --workspace --test deployer -- schedule

# The protocol's model within wider bounds (several GB of memory): every interleaving
protocol:
    cargo test --workspace --test protocol_model -- --ignored

# What .ci/run checks before it tests
lint:
    cargo fmt --all -- --check
    cargo clippy --workspace --all-targets -- -D warnings

ci:
    bash .ci/run

# The worker's program as one file that starts in any image, whatever C library that has or lacks
worker:
    cargo rustc --release -p worker --bin worker -- -C target-feature=+crt-static

# What a release hands out, in dist/: wheels that hold the programs alone, the programs, checksums; tried from their
# files (needs Python 3 and PyPI): `just release worker` makes one of them
release *programs:
    packaging/release {{programs}}

# A batch that the real Kueue admits, evicts and admits again, on a kind cluster (needs Docker, kind, kubectl and Go)
kueue: worker
    cargo build --release -p sim
    cargo build --release -p cloud --features gcp
    bash tests/kueue/try

# The Fraud Detection Handbook's table, and the weeks that the model was chosen on. Needs its data in
# ../shared/data/handbook, or below the folder that FRAUD_DATA names
handbook:
    cargo test --workspace --test handbook -- --nocapture

# When each alert fires and when not, by Prometheus' own promtool (needs Go and its module proxy; some minutes the first time)
alerts:
    command -v promtool >/dev/null || go install -tags remove_all_sd github.com/prometheus/prometheus/cmd/promtool@v0.316.0
    PATH="$PATH:$(go env GOPATH)/bin" promtool check rules --lint=all --lint-fatal manifests/monitoring/alerts.yaml
    PATH="$PATH:$(go env GOPATH)/bin" promtool test rules manifests/monitoring/alerts_test.yaml

# Simulated schedules on all cores: `just explore --seeds 1000000`
explore *args:
    cargo run --release -p sim -- explore {{args}}

# One large simulated batch, and what a result costs by tenths of it: `just scale --workers 1000`
scale *args:
    cargo run --release -p sim -- scale {{args}}

# Which property catches each rule that is forgotten on purpose, after how many schedules
mutants:
    cargo run --release -p sim -- mutants

# Which test notices when a text of the adapters is broken, in SQL, Lua and the directory's calls: `just mutants-of-stores
# sqlite` for those with this word (Python 3.11, redis-server; minutes, and the last two build the whole workspace)
mutants-of-stores *words:
    tests/mutants/run {{words}}

# Whole programs: tutorial pipeline start memory recovery goodput scale (any of them). Needs Python 3; for
# tutorial and recovery redis-server, for pipeline benches/peer/requirements.txt, and the data in
# ../shared/data, or in the folder that FRAUD_DATA names
bench +what:
    cargo build --release -p worker -p fixtures
    python3 benches/run.py {{what}}

# The peer alone: the same features in numpy, the same bins, scikit-learn's partial_fit
bench-peer data="../shared/data/handbook":
    python3 benches/peer/fraud.py {{data}}

# How much of the test week's AUC is chance (needs what `bench pipeline` needs; about a minute)
chance *args:
    cargo build --release -p worker
    python3 benches/peer/chance.py {{args}}

# Rows a second of readers, join and fold
bench-fraud:
    cargo bench -p worker --bench fraud

# The Redis queue beside the same two scripts through redis-benchmark (needs redis-server, Python 3)
bench-queue jobs="40000":
    python3 benches/redis_queue.py "$(cargo bench -p worker --bench queue --no-run 2>&1 | sed -n 's/.*Executable.*(\(.*\))/\1/p')" {{jobs}}

# No-op jobs a second of asynq, BullMQ, Celery and RQ, one worker each, beside ours on the same Redis (needs
# redis-server and Python 3; go, node and npm for the first two: what is not there is said). Installs them
# from their registries into a folder that goes away
bench-peers *args:
    python3 benches/peer_queues.py "$(cargo bench -p worker --bench queue --no-run 2>&1 | sed -n 's/.*Executable.*(\(.*\))/\1/p')" {{args}}

# What a no-op program costs as an item, beside GNU parallel and RQ (needs Python 3; redis-server for RQ)
bench-overhead *args:
    cargo build --release -p worker
    python3 benches/overhead.py {{args}}

# An hour under faults with datasets pushed all the while: does anything grow? (needs redis-server, Python 3)
soak *args:
    cargo build --release -p worker -p fixtures
    python3 benches/soak.py {{args}}
