//! RESP version 2, as Redis and Valkey speak it: GET and SET, and for batches MGET and MSET, answered
//! in the order asked.

use std::collections::VecDeque;

use anyhow::{Context, Result, bail, ensure};

use super::{Answer, Protocol, Slot};
use crate::workload::{Data, Request, Verb};

/// The longest value that is believed to come.
const BULK_BYTES_MAX: usize = 512 << 20;

/// The codec of one connection.
#[derive(Debug, Default)]
pub(crate) struct Resp {
    order: VecDeque<Sent>,
    key: Vec<u8>,
    password: Option<String>,
    /// Answers to what opens the session that are not there yet.
    opening: u8,
}

/// A request in flight.
#[derive(Debug)]
struct Sent {
    slot: Slot,
    /// The whole answer to MGET, to compare with.
    array: Option<Vec<u8>>,
}

impl Resp {
    /// With what the server wants to hear first, if it wants anything.
    pub(crate) fn new(password: Option<String>) -> Self {
        Self {
            password,
            ..Self::default()
        }
    }

    /// MGET or MSET of the keys of a batch; the answer that is right.
    fn batch(&mut self, request: &Request, data: &Data, out: &mut Vec<u8>) -> Option<Vec<u8>> {
        let count = usize::try_from(request.count).unwrap_or(0);
        let get = request.verb == Verb::Get;
        if get {
            length(b'*', count + 1, out);
            out.extend_from_slice(b"$4\r\nMGET\r\n");
        } else {
            length(b'*', 2 * count + 1, out);
            out.extend_from_slice(b"$4\r\nMSET\r\n");
        }
        let mut array = Vec::new();
        length(b'*', count, &mut array);
        for nth in 0..request.count {
            let index = data.member(request, nth);
            self.key.clear();
            data.write_key(index, &mut self.key);
            Self::bulk(&self.key, out);
            let value = if get { &mut array } else { &mut *out };
            length(b'$', data.value_bytes(), value);
            data.write_value(index, value);
            value.extend_from_slice(b"\r\n");
        }
        get.then_some(array)
    }

    fn bulk(bytes: &[u8], out: &mut Vec<u8>) {
        length(b'$', bytes.len(), out);
        out.extend_from_slice(bytes);
        out.extend_from_slice(b"\r\n");
    }
}

fn length(mark: u8, len: usize, out: &mut Vec<u8>) {
    out.push(mark);
    push_decimal(len, out);
    out.extend_from_slice(b"\r\n");
}

/// Appends a number in decimal, without allocating.
pub(super) fn push_decimal(mut number: usize, out: &mut Vec<u8>) {
    let start = out.len();
    loop {
        let digit = u8::try_from(number % 10).unwrap_or(0);
        out.push(b'0' + digit);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    if let Some(digits) = out.get_mut(start..) {
        digits.reverse();
    }
}

/// The line at the front, without its end, and what follows it.
pub(super) fn line(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = input.iter().position(|&byte| byte == b'\r')?;
    let (line, rest) = input.split_at_checked(at)?;
    Some((line, rest.strip_prefix(b"\r\n")?))
}

/// A decimal number that is all of the text.
pub(super) fn decimal(text: &[u8]) -> Option<usize> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_usize, |number, &byte| {
        let digit = byte.checked_sub(b'0').filter(|&digit| digit < 10)?;
        number.checked_mul(10)?.checked_add(usize::from(digit))
    })
}

/// What stands at the front: `None` if it is not whole.
fn reply(input: &[u8]) -> Result<Option<(Answer<'_>, &[u8])>> {
    let Some((&mark, after)) = input.split_first() else {
        return Ok(None);
    };
    let Some((head, rest)) = line(after) else {
        return Ok(None);
    };
    Ok(Some(match mark {
        b'+' => (Answer::Done, rest),
        b'-' => (Answer::Refused, rest),
        b'$' if head == b"-1" => (Answer::Missing, rest),
        b'$' => {
            let len = decimal(head)
                .filter(|&len| len <= BULK_BYTES_MAX)
                .context("a bulk string without a length")?;
            let Some((value, rest)) = rest.split_at_checked(len) else {
                return Ok(None);
            };
            let Some(end) = rest.first_chunk::<2>() else {
                return Ok(None);
            };
            if end != b"\r\n" {
                bail!("a bulk string of another length than it said");
            }
            let rest = rest.get(2..).unwrap_or_default();
            (Answer::Value { key: None, value }, rest)
        }
        _ => bail!("a reply of the type {:?}", char::from(mark)),
    }))
}

impl Protocol for Resp {
    const ALPN: Option<&'static [u8]> = None;
    const BATCHES: bool = true;

    fn open(&mut self, _: Option<[u8; 32]>, out: &mut Vec<u8>) -> Result<()> {
        self.opening = 1;
        if let Some(password) = &self.password {
            self.opening = 2;
            out.extend_from_slice(b"*2\r\n$4\r\nAUTH\r\n");
            Self::bulk(password.as_bytes(), out);
        }
        out.extend_from_slice(b"*1\r\n$4\r\nPING\r\n");
        Ok(())
    }

    fn opened(&mut self, input: &mut &mut [u8], _: &mut Vec<u8>) -> Result<bool> {
        while self.opening > 0 {
            let Some((answer, rest)) = reply(input)? else {
                return Ok(false);
            };
            if !matches!(answer, Answer::Done) {
                bail!("the server refused AUTH or PING");
            }
            let used = input.len() - rest.len();
            consume(input, used);
            self.opening -= 1;
        }
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
            let array = self.batch(request, data, out);
            self.order.push_back(Sent { slot, array });
            return Ok(());
        }
        self.order.push_back(Sent { slot, array: None });
        self.key.clear();
        data.write_key(request.first, &mut self.key);
        match request.verb {
            Verb::Get => {
                out.extend_from_slice(b"*2\r\n$3\r\nGET\r\n");
                Self::bulk(&self.key, out);
            }
            Verb::Set => {
                out.extend_from_slice(b"*3\r\n$3\r\nSET\r\n");
                Self::bulk(&self.key, out);
                length(b'$', data.value_bytes(), out);
                data.write_value(request.first, out);
                out.extend_from_slice(b"\r\n");
            }
        }
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
        loop {
            // An array is compared as a whole; what does not begin as one may be an error.
            if let Some(array) = self.order.front().and_then(|sent| sent.array.as_ref())
                && rest.first() == Some(&b'*')
            {
                let Some((answer, after)) = rest.split_at_checked(array.len()) else {
                    break;
                };
                let right = answer == array.as_slice();
                ensure!(
                    right,
                    "the answer to MGET is not the values that were stored"
                );
                if let Some(sent) = self.order.pop_front() {
                    each(sent.slot, Answer::Compared(right));
                }
                rest = after;
                continue;
            }
            let Some((answer, after)) = reply(rest)? else {
                break;
            };
            let sent = self.order.pop_front().context("a reply to nothing")?;
            each(sent.slot, answer);
            rest = after;
        }
        let used = input.len() - rest.len();
        consume(input, used);
        Ok(())
    }

    fn close(&mut self, _: &mut Vec<u8>) {}
}

/// Moves the front of `input` forward.
pub(super) fn consume(input: &mut &mut [u8], used: usize) {
    let whole = std::mem::take(input);
    *input = whole.get_mut(used..).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip() {
        for number in [0, 1, 9, 10, 65_536, usize::MAX] {
            let mut text = Vec::new();
            push_decimal(number, &mut text);
            assert_eq!(text, number.to_string().as_bytes());
            assert_eq!(decimal(&text), Some(number));
        }
        assert_eq!(decimal(b""), None);
        assert_eq!(decimal(b"-1"), None);
        assert_eq!(decimal(b"99999999999999999999"), None);
    }

    #[test]
    fn replies_are_taken_only_when_they_are_whole() {
        let bytes = b"$5\r\nhello\r\n+OK\r\n$-1\r\n-ERR no\r\n".to_vec();
        for cut in 0..=bytes.len() {
            let mut resp = Resp {
                order: (0..4).map(|slot| Sent { slot, array: None }).collect(),
                ..Resp::default()
            };
            let mut seen = Vec::new();
            let (mut front, mut back) = (bytes[..cut].to_vec(), bytes[cut..].to_vec());
            let mut input = front.as_mut_slice();
            let mut each = |slot, answer: Answer<'_>| seen.push((slot, format!("{answer:?}")));
            resp.replies(&mut input, &mut Vec::new(), &mut each)
                .unwrap();
            let mut rest = input.to_vec();
            rest.append(&mut back);
            let mut input = rest.as_mut_slice();
            resp.replies(&mut input, &mut Vec::new(), &mut each)
                .unwrap();
            assert!(input.is_empty());
            assert_eq!(seen.len(), 4, "cut at {cut}");
            assert!(seen[0].1.contains("104, 101"), "{seen:?}");
            assert_eq!(seen[1].1, "Done");
            assert_eq!(seen[2].1, "Missing");
            assert_eq!(seen[3], (3, "Refused".to_owned()));
        }
    }

    #[test]
    fn a_batch_is_mget_or_mset_and_its_answer_is_compared_whole() {
        let data = Data::new(100, crate::workload::Choice::Uniform, 4, 8).unwrap();
        let request = |verb| Request {
            verb,
            first: 7,
            count: 2,
        };
        let mut resp = Resp::default();
        let mut sets = Vec::new();
        resp.request(0, &request(Verb::Set), &data, &mut sets)
            .unwrap();
        assert!(sets.starts_with(b"*5\r\n$4\r\nMSET\r\n$4\r\n"));
        let mut gets = Vec::new();
        resp.request(1, &request(Verb::Get), &data, &mut gets)
            .unwrap();
        assert!(gets.starts_with(b"*3\r\n$4\r\nMGET\r\n$4\r\n"));
        let mut replies = b"+OK\r\n*2\r\n".to_vec();
        for nth in 0..2 {
            replies.extend_from_slice(b"$8\r\n");
            data.write_value(data.member(&request(Verb::Get), nth), &mut replies);
            replies.extend_from_slice(b"\r\n");
        }
        let mut wrong = replies.clone();
        let mut seen = Vec::new();
        let whole = replies.len();
        let mut input = &mut replies[..whole - 1];
        let mut each = |slot, answer: Answer<'_>| seen.push((slot, format!("{answer:?}")));
        resp.replies(&mut input, &mut Vec::new(), &mut each)
            .unwrap();
        assert!(input.starts_with(b"*2"), "it waits for the rest");
        let mut input = &mut replies[5..];
        resp.replies(&mut input, &mut Vec::new(), &mut each)
            .unwrap();
        let expected = [(0, "Done".to_owned()), (1, "Compared(true)".to_owned())];
        assert_eq!(seen, expected);

        resp.request(1, &request(Verb::Get), &data, &mut gets)
            .unwrap();
        wrong[whole - 3] ^= 1;
        let mut input = &mut wrong[5..];
        assert!(
            resp.replies(&mut input, &mut Vec::new(), &mut |_, _| {})
                .is_err()
        );
    }

    #[test]
    fn a_password_comes_before_anything_else() {
        let mut resp = Resp::new(Some("secret".into()));
        let mut out = Vec::new();
        resp.open(None, &mut out).unwrap();
        assert!(out.starts_with(b"*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n*1\r\n"));
        let mut half = b"+OK\r\n".to_vec();
        let opened = resp.opened(&mut half.as_mut_slice(), &mut out).unwrap();
        assert!(!opened, "PING is not answered yet");
        let mut rest = b"+PONG\r\n".to_vec();
        assert!(resp.opened(&mut rest.as_mut_slice(), &mut out).unwrap());
        let mut resp = Resp::new(Some("wrong".into()));
        resp.open(None, &mut out).unwrap();
        let mut no = b"-WRONGPASS\r\n".to_vec();
        assert!(resp.opened(&mut no.as_mut_slice(), &mut out).is_err());
    }

    #[test]
    fn what_is_not_resp_is_refused() {
        for bytes in [
            &b"hello\r\n"[..],
            b"$x\r\n",
            b"$1\r\nabc\r\n",
            b"$9999999999\r\n",
        ] {
            assert!(reply(bytes).is_err(), "{bytes:?}");
        }
        let mut stray = b"+OK\r\n".to_vec();
        let result =
            Resp::default().replies(&mut stray.as_mut_slice(), &mut Vec::new(), &mut |_, _| {});
        assert!(result.is_err(), "a reply to nothing");
    }
}
