//! The session on top: handshake, round trip, clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use kv_client::{ErrorCode, MultiplexedClient};

use super::Finding;
use crate::connect;
use crate::error::{CliError, Code};
use crate::settings::{Scheme, Settings};

const ROUND_TRIPS: u32 = 5;

/// Seconds that the clocks may differ: both ends of the difference are whole seconds.
const SKEW_SECONDS: u64 = 5;

/// Opens a session as any command does.
pub(super) async fn open(settings: &Settings) -> Result<(MultiplexedClient, Finding), CliError> {
    let client = connect::connect(settings).await;
    let client = client.map_err(|error| explained(error, settings))?;
    let Some(session) = client.session() else {
        return Err(CliError::new(Code::IO, "the session is over already"));
    };
    let permissions = if session.permissions.is_empty() {
        "nothing".to_owned()
    } else {
        session.permissions.join(", ")
    };
    let detail = format!(
        "protocol version 2 with {}, suite {}\nas `{}`, who may: {permissions}",
        session.server, session.suite, session.identity
    );
    let in_clear = settings.url.scheme == Scheme::Plain
        && session.suite != kv_client::Suite::Encrypted.name()
        && !settings.url.is_local();
    let finding = if in_clear {
        Finding::Odd(
            format!(
                "{detail}\nnobody can change what is sent, but everybody on the way can read it"
            ),
            "--suite encrypted, or TLS: kvs://".to_owned(),
        )
    } else {
        Finding::Fine(detail)
    };
    Ok((client, finding))
}

/// Here, unlike in other commands, it is known that somebody listens.
fn explained(error: CliError, settings: &Settings) -> CliError {
    if error.code().name() == "TIMEOUT" {
        return error.hint(
            "somebody takes connections there and says nothing: is it a kv server, and is it alive?",
        );
    }
    // An answer that is no frame may well be one of TLS.
    let may_be_tls = matches!(
        error.code().name(),
        "PROTOCOL" | "CONNECT" | "CONNECTION_LOST"
    );
    if settings.url.scheme == Scheme::Plain && may_be_tls {
        let hint = format!(
            "if the server wants TLS: --url kvs://{} --ca FILE\notherwise something else than kv \
             listens there",
            settings.url.authority()
        );
        return error.hint(hint);
    }
    error
}

/// Measures a few round trips.
pub(super) async fn round_trip(client: &MultiplexedClient) -> Result<((), Finding), CliError> {
    let mut best = None;
    for _ in 0..ROUND_TRIPS {
        let started = Instant::now();
        client.ping().await?;
        let took = started.elapsed();
        best = best.map_or(Some(took), |best: std::time::Duration| Some(best.min(took)));
    }
    let ms = best.unwrap_or_default().as_secs_f64() * 1_000.0;
    Ok((
        (),
        Finding::Fine(format!("{ms:.3} ms, the best of {ROUND_TRIPS}")),
    ))
}

/// Compares the clocks: certificates depend on them.
pub(super) async fn clock(client: &MultiplexedClient) -> Result<((), Finding), CliError> {
    let info = match client.info("server").await {
        Ok(info) => info,
        Err(error) if error.code() == Some(ErrorCode::PermissionDenied) => {
            return Ok((
                (),
                Finding::Fine("not compared: this identity may not observe".to_owned()),
            ));
        }
        Err(error) => return Err(error.into()),
    };
    let number = |name| {
        info.at("server")
            .and_then(|server| server.at(name)?.as_u64())
    };
    let (Some(started), Some(uptime)) = (number("started_unix_seconds"), number("uptime_seconds"))
    else {
        return Ok((
            (),
            Finding::Fine("not compared: the server does not tell".to_owned()),
        ));
    };
    let here = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let skew = here.abs_diff(started.saturating_add(uptime));
    if skew <= SKEW_SECONDS {
        return Ok(((), Finding::Fine("the same on both sides".to_owned())));
    }
    Ok((
        (),
        Finding::Odd(
            format!("the clocks differ by about {skew} s"),
            "set both by NTP: certificates are judged by them".to_owned(),
        ),
    ))
}
