//! `ping`: the round trip to the server.

use std::time::{Duration, Instant};

use crate::app::App;
use crate::args::PingArgs;
use crate::error::{CliError, Exit};
use crate::output::Report;

/// Measures as often as asked, and sums up when it was more than once.
pub(super) async fn run(app: &mut App, args: &PingArgs) -> Result<Exit, CliError> {
    let client = app.client().await?;
    let mut all = Vec::new();
    for number in 1..=args.count {
        if let (Some(interval), true) = (args.interval, number > 1) {
            tokio::time::sleep(interval.0).await;
        }
        let started = Instant::now();
        client.ping().await?;
        let took = started.elapsed();
        all.push(took);
        let report = Report::new(format!("pong: {} ms", ms(took)), ms(took))
            .with("sequence", number)
            .with("round_trip_us", us(took));
        app.output.report(&report)?;
        if args.interval.is_some() {
            app.output.flush()?;
        }
    }
    if args.count > 1 {
        app.output.message(&summary(all));
    }
    Ok(Exit::Ok)
}

fn summary(mut all: Vec<Duration>) -> String {
    all.sort_unstable();
    let at = |percent: usize| {
        all.get((all.len() * percent).div_ceil(100).saturating_sub(1))
            .copied()
    };
    let shown = |percent| ms(at(percent).unwrap_or_default());
    format!(
        "{} round trips: min {} ms, p50 {} ms, p99 {} ms, max {} ms",
        all.len(),
        shown(0),
        shown(50),
        shown(99),
        shown(100)
    )
}

fn ms(took: Duration) -> String {
    format!("{:.3}", took.as_secs_f64() * 1_000.0)
}

fn us(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_of_all_round_trips() {
        let all = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(
            summary(all),
            "100 round trips: min 1.000 ms, p50 50.000 ms, p99 99.000 ms, max 100.000 ms"
        );
    }
}
