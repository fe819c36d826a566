//! The kv server's program: configuration, runtime, signals, exit code.

use std::process::ExitCode;

use kv_server::config::{FlagSetting, Sources};
use kv_server::{Command, Control, Server, Stopped};
use tokio::signal::unix::{SignalKind, signal};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let mut args = std::env::args().skip(1);
    let mut sources = Sources {
        environment: std::env::vars_os().collect(),
        ..Sources::default()
    };
    while let Some(flag) = args.next() {
        if flag == "--config" {
            sources.file = args.next().map(Into::into);
        } else if flag == "--address" {
            sources.flags.push(FlagSetting {
                flag,
                key: "listeners.native.address".into(),
                value: args.next().unwrap_or_default(),
            });
        }
    }
    let loaded = match kv_server::config::load(&sources) {
        Ok(loaded) => loaded,
        Err(mistakes) => {
            tracing::error!("{mistakes}");
            return ExitCode::from(3);
        }
    };
    let threads = loaded.config.worker_threads.map_or_else(
        || std::thread::available_parallelism().map_or(1, usize::from),
        usize::from,
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no runtime");
            return ExitCode::from(1);
        }
    };
    runtime.block_on(async {
        let keys = match kv_server::keys::load(&loaded.config.auth, |name| std::env::var_os(name)) {
            Ok(keys) => keys,
            Err(error) => {
                tracing::error!(%error, "keys");
                return ExitCode::from(3);
            }
        };
        let server = match Server::bind(loaded.config, keys) {
            Ok(server) => server,
            Err(error) => {
                tracing::error!(%error, "cannot start");
                return ExitCode::from(4);
            }
        };
        if let Ok(address) = server.native_address() {
            tracing::info!(listener = "native", %address, "listening");
        }
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(signals(server.control()));
        match server.run().await {
            Stopped::Clean => ExitCode::SUCCESS,
            Stopped::Cut(_) => ExitCode::from(6),
        }
    })
}

async fn signals(control: Control) {
    let (Ok(mut term), Ok(mut int), Ok(mut hup)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::hangup()),
    ) else {
        return;
    };
    loop {
        let command = tokio::select! {
            _ = term.recv() => Command::Stop,
            _ = int.recv() => Command::Stop,
            _ = hup.recv() => Command::Reload,
        };
        control.send(command);
    }
}
