//! The kv server's program.

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> kv_server::Exit {
    kv_server::begin_with_small_pages();
    kv_server::program(kv_server::Invocation::from_process())
}
