//! `doctor`: how far a connection gets, step by step, and how to get further.
//!
//! Each step is shown as soon as it is known. A step that fails ends the examination: what comes
//! behind it could only fail for the same reason.

mod key;
mod session;
mod tls;

use std::net::SocketAddr;
use std::time::Instant;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::app::App;
use crate::error::{CliError, Code, Exit};
use crate::output::{Format, Output, Report, Reports};
use crate::settings::{Scheme, Settings};

/// What a step found.
enum Finding {
    /// All is well: what was seen.
    Fine(String),
    /// It goes on, but somebody should know: what was seen, and the fix.
    Odd(String, String),
}

/// The examination so far.
struct Record<'o> {
    output: &'o mut Output,
    later: Reports,
    exit: Exit,
}

impl Record<'_> {
    /// Writes a step down; the value of a good one is what was found out.
    fn step<T>(
        &mut self,
        name: &str,
        result: Result<(T, Finding), CliError>,
    ) -> Result<Option<T>, CliError> {
        let (value, state, detail, fix) = match result {
            Ok((value, Finding::Fine(detail))) => (Some(value), "ok", detail, None),
            Ok((value, Finding::Odd(detail, fix))) => (Some(value), "warning", detail, Some(fix)),
            Err(error) => {
                self.exit = self.exit.and(error.exit());
                let detail = match error.cause_text() {
                    Some(cause) => format!("{error}: {cause}"),
                    None => error.to_string(),
                };
                (None, "failed", detail, error.hint_text().map(str::to_owned))
            }
        };
        self.write(name, state, &detail, fix.as_deref())?;
        Ok(value)
    }

    fn write(
        &mut self,
        name: &str,
        state: &str,
        detail: &str,
        fix: Option<&str>,
    ) -> Result<(), CliError> {
        let indent = format!("\n{:20}", "");
        let (colour, off) = match (self.output.terminal.stdout_colour, state) {
            (false, _) => ("", ""),
            (true, "ok") => ("\x1b[32m", "\x1b[0m"),
            (true, "warning") => ("\x1b[33m", "\x1b[0m"),
            (true, _) => ("\x1b[1;31m", "\x1b[0m"),
        };
        let mut human = format!("{colour}{state:<8}{off} {name:<10} ");
        human += &detail.replace('\n', &indent);
        if let Some(fix) = fix {
            human += &format!(
                "{indent}fix: {}",
                fix.replace('\n', &format!("{indent}     "))
            );
        }
        let raw = [state, name, detail, fix.unwrap_or_default()];
        let raw = raw.map(|column| column.replace('\n', "; ")).join("\t");
        let report = Report::new(human, raw)
            .with("step", name)
            .with("state", state)
            .with("detail", detail)
            .with("fix", fix);
        if matches!(self.output.format, Format::Json | Format::Table) {
            self.later.push(report);
            return Ok(());
        }
        self.output.report(&report)?;
        self.output.flush()
    }
}

/// Examines the way to the server.
pub(super) async fn run(app: &mut App) -> Result<Exit, CliError> {
    let settings = app.settings()?.clone();
    let mut record = Record {
        output: &mut app.output,
        later: Reports::of_a_list(),
        exit: Exit::Ok,
    };
    examine(&mut record, &settings).await?;
    let exit = record.exit;
    let later = record.later;
    if matches!(app.output.format, Format::Json | Format::Table) {
        later.write(&mut app.output)?;
    }
    Ok(exit)
}

async fn examine(record: &mut Record<'_>, settings: &Settings) -> Result<(), CliError> {
    if record.step("key", key::examine(settings))?.is_none() {
        return Ok(());
    }
    let Some(addresses) = record.step("dns", resolve(settings).await)? else {
        return Ok(());
    };
    let Some(address) = record.step("tcp", reach(settings, &addresses).await)? else {
        return Ok(());
    };
    if settings.url.scheme == Scheme::Tls
        && record
            .step("tls", tls::examine(settings, address).await)?
            .is_none()
    {
        return Ok(());
    }
    let Some(client) = record.step("session", Box::pin(session::open(settings)).await)? else {
        return Ok(());
    };
    record.step("round trip", session::round_trip(&client).await)?;
    record.step("clock", session::clock(&client).await)?;
    client.close().await;
    Ok(())
}

async fn resolve(settings: &Settings) -> Result<(Vec<SocketAddr>, Finding), CliError> {
    let url = &settings.url;
    let fail = |cause: String| {
        CliError::new(Code::DNS, format!("there is no address for `{}`", url.host))
            .cause(cause)
            .hint("check the name, or give the address itself: --url kv://192.0.2.1:7777")
    };
    let host = (url.host.as_str(), url.port);
    let found = timeout(settings.timeout, lookup_host(host)).await;
    let found = found.map_err(|_| fail("no answer in time".to_owned()))?;
    let mut addresses: Vec<SocketAddr> = found.map_err(|error| fail(error.to_string()))?.collect();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(fail("the answer is empty".to_owned()));
    }
    let shown: Vec<String> = addresses.iter().map(|at| at.ip().to_string()).collect();
    let detail = if shown == [url.host.as_str()] {
        format!("{} is an address", url.host)
    } else {
        format!("{} is {}", url.host, shown.join(", "))
    };
    Ok((addresses, Finding::Fine(detail)))
}

async fn reach(
    settings: &Settings,
    addresses: &[SocketAddr],
) -> Result<(SocketAddr, Finding), CliError> {
    let mut tried = Vec::new();
    for &address in addresses {
        let started = Instant::now();
        match timeout(settings.timeout, TcpStream::connect(address)).await {
            Ok(Ok(_)) => {
                let ms = started.elapsed().as_secs_f64() * 1_000.0;
                let detail = format!("connected to {address} in {ms:.1} ms");
                let finding = if tried.is_empty() {
                    Finding::Fine(detail)
                } else {
                    Finding::Odd(
                        format!("{detail}, but first {}", tried.join(", ")),
                        "let the server listen on all addresses of its name, or name the one"
                            .to_owned(),
                    )
                };
                return Ok((address, finding));
            }
            Ok(Err(error)) => tried.push(format!("{address}: {error}")),
            Err(_) => tried.push(format!("{address}: no answer in time")),
        }
    }
    let refused = tried.iter().all(|text| text.contains("refused"));
    let port = settings.url.port;
    let fix = if refused {
        format!(
            "is the server running, and does it listen on port {port}? `kv-server` starts one on \
             port 7777; `listeners.native.address` in its configuration says where"
        )
    } else {
        format!(
            "a firewall or a wrong address drops the connection: is port {port} open on the way?"
        )
    };
    Err(CliError::new(Code::CONNECT, "no connection")
        .cause(tried.join("\n"))
        .hint(fix))
}
