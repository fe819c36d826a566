//! An echo server on raw system calls, by itself: `cargo run --release -p kv-bench --example floor`.
//!
//! `kv-bench floor` starts the same one and measures it beside kv-server.

fn main() -> anyhow::Result<()> {
    let port = std::env::args().nth(1).map_or(Ok(0), |text| text.parse())?;
    kv_bench::serve_floor(port)
}
