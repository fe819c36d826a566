//! memcached's text protocol, answered in the order asked: `set`, and reads by the meta command `mg`,
//! because `get` is answered with a write of its own even where many came together.

use std::collections::VecDeque;

use anyhow::{Context, Result, bail};

use super::resp::{consume, decimal, line, push_decimal};
use super::{Answer, Protocol, Slot};
use crate::workload::{Data, Request, Verb};

const VALUE_BYTES_MAX: usize = 1 << 30;

/// The codec of one connection.
#[derive(Debug, Default)]
pub(crate) struct Memcached {
    order: VecDeque<Slot>,
}

/// What stands at the front: `None` if it is not whole.
fn reply(input: &[u8]) -> Result<Option<(Answer<'_>, &[u8])>> {
    let Some((head, rest)) = line(input) else {
        return Ok(None);
    };
    Ok(Some(match head {
        b"STORED" => (Answer::Done, rest),
        b"EN" => (Answer::Missing, rest),
        _ => {
            let Some(head) = head.strip_prefix(b"VA ") else {
                let words = ["ERROR", "SERVER_ERROR", "CLIENT_ERROR", "NOT_STORED"];
                if words.iter().any(|word| head.starts_with(word.as_bytes())) {
                    return Ok(Some((Answer::Refused, rest)));
                }
                bail!(
                    "a reply that begins with {:?}",
                    head.escape_ascii().to_string()
                );
            };
            let mut words = head.split(|&byte| byte == b' ');
            let len = words
                .next()
                .and_then(decimal)
                .filter(|&len| len <= VALUE_BYTES_MAX)
                .context("a value without a length")?;
            let Some((value, rest)) = rest.split_at_checked(len) else {
                return Ok(None);
            };
            let Some((end, rest)) = rest.split_at_checked(2) else {
                return Ok(None);
            };
            if end != b"\r\n" {
                bail!("a value of another length than it said");
            }
            let key = words.find_map(|word| word.strip_prefix(b"k"));
            (Answer::Value { key, value }, rest)
        }
    }))
}

impl Protocol for Memcached {
    const ALPN: Option<&'static [u8]> = None;
    const BATCHES: bool = false;

    fn open(&mut self, _: Option<[u8; 32]>, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(b"version\r\n");
        Ok(())
    }

    fn opened(&mut self, input: &mut &mut [u8], _: &mut Vec<u8>) -> Result<bool> {
        let Some((head, rest)) = line(input) else {
            return Ok(false);
        };
        if !head.starts_with(b"VERSION ") {
            bail!("the server did not tell its version");
        }
        let used = input.len() - rest.len();
        consume(input, used);
        Ok(true)
    }

    #[inline]
    fn request(
        &mut self,
        slot: Slot,
        request: &Request,
        data: &Data,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        if request.count != 1 {
            bail!("memcached has no batches here");
        }
        self.order.push_back(slot);
        match request.verb {
            Verb::Get => {
                out.extend_from_slice(b"mg ");
                data.write_key(request.first, out);
                out.extend_from_slice(b" v k");
            }
            Verb::Set => {
                out.extend_from_slice(b"set ");
                data.write_key(request.first, out);
                out.extend_from_slice(b" 0 0 ");
                push_decimal(data.value_bytes(), out);
                out.extend_from_slice(b"\r\n");
                data.write_value(request.first, out);
            }
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    #[inline]
    fn replies(
        &mut self,
        input: &mut &mut [u8],
        _: &mut Vec<u8>,
        each: &mut impl FnMut(Slot, Answer<'_>),
    ) -> Result<()> {
        let mut rest: &[u8] = input;
        while let Some((answer, after)) = reply(rest)? {
            let slot = self.order.pop_front().context("a reply to nothing")?;
            each(slot, answer);
            rest = after;
        }
        let used = input.len() - rest.len();
        consume(input, used);
        Ok(())
    }

    fn close(&mut self, _: &mut Vec<u8>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_taken_only_when_they_are_whole() {
        let bytes = b"VA 5 kk1\r\nhello\r\nSTORED\r\nEN\r\nSERVER_ERROR out of memory\r\n";
        for cut in 0..=bytes.len() {
            let mut codec = Memcached {
                order: (0..4).collect(),
            };
            let mut seen = Vec::new();
            let mut each = |slot, answer: Answer<'_>| seen.push((slot, format!("{answer:?}")));
            let mut front = bytes[..cut].to_vec();
            let mut input = front.as_mut_slice();
            codec
                .replies(&mut input, &mut Vec::new(), &mut each)
                .unwrap();
            let mut rest = input.to_vec();
            rest.extend_from_slice(&bytes[cut..]);
            let mut input = rest.as_mut_slice();
            codec
                .replies(&mut input, &mut Vec::new(), &mut each)
                .unwrap();
            assert!(input.is_empty());
            assert_eq!(seen.len(), 4, "cut at {cut}");
            assert!(seen[0].1.contains("Some([107, 49])"), "{seen:?}");
            assert_eq!(seen[1].1, "Done");
            assert_eq!(seen[2].1, "Missing");
            assert_eq!(seen[3].1, "Refused");
        }
    }

    #[test]
    fn what_is_not_memcached_is_refused() {
        for bytes in [
            &b"hello\r\n"[..],
            b"VA\r\n",
            b"VA x\r\n",
            b"VA 1\r\nabc\r\n",
        ] {
            assert!(reply(bytes).is_err(), "{bytes:?}");
        }
    }
}
