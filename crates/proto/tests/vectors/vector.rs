//! A vector as a flat JSON object with hex strings, and the helpers of all runners.

use std::path::PathBuf;

use serde_json::Value;

/// The result of one vector: why it disagrees.
pub(crate) type Outcome = Result<(), String>;
pub(crate) type Run = fn(&Vector) -> Outcome;

#[derive(Clone, Debug)]
pub(crate) struct Vector(pub(crate) Value);

pub(crate) fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/protocol/vectors")
}

/// The vectors of one file.
pub(crate) fn load(file: &str) -> Vec<Vector> {
    let path = directory().join(format!("{file}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let json: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{file}.json: {e}"));
    assert_eq!(json["format"], 1, "{file}.json has another format");
    json["vectors"]
        .as_array()
        .unwrap()
        .iter()
        .cloned()
        .map(Vector)
        .collect()
}

impl Vector {
    pub(crate) fn name(&self) -> &str {
        self.text("name")
    }

    /// The class of error it must end in.
    pub(crate) fn error(&self) -> Option<&str> {
        self.0.get("error").map(|e| e.as_str().unwrap())
    }

    pub(crate) fn has(&self, field: &str) -> bool {
        self.0.get(field).is_some_and(|v| !v.is_null())
    }

    pub(crate) fn text(&self, field: &str) -> &str {
        self.0[field]
            .as_str()
            .unwrap_or_else(|| panic!("{field} is not a string: {}", self.0["name"]))
    }

    pub(crate) fn bytes(&self, field: &str) -> Vec<u8> {
        unhex(self.text(field))
    }

    /// Bytes, or nothing when the field is absent or null.
    pub(crate) fn maybe(&self, field: &str) -> Option<Vec<u8>> {
        self.has(field).then(|| self.bytes(field))
    }

    pub(crate) fn array<const N: usize>(&self, field: &str) -> [u8; N] {
        self.bytes(field)
            .try_into()
            .unwrap_or_else(|_| panic!("{field} has another length"))
    }

    pub(crate) fn number<T: TryFrom<u64>>(&self, field: &str) -> T {
        let number = self.0[field]
            .as_u64()
            .unwrap_or_else(|| panic!("{field} is not a number"));
        T::try_from(number).unwrap_or_else(|_| panic!("{field} is too large"))
    }

    pub(crate) fn list(&self, field: &str) -> Vec<Self> {
        self.0[field]
            .as_array()
            .unwrap()
            .iter()
            .cloned()
            .map(Self)
            .collect()
    }

    /// The same vector with a result that is wrong: a good one that claims an error, or the reverse.
    pub(crate) fn bent(&self) -> Option<Self> {
        let mut bent = self.0.clone();
        let object = bent.as_object_mut()?;
        if let Some(number) = object.get("number").and_then(Value::as_u64) {
            object.insert("number".into(), (number + 1).into());
        } else if object.remove("error").is_none() {
            object.insert("error".into(), "no such class".into());
        }
        Some(Self(bent))
    }
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "odd number of digits");
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Fails with both sides when they differ.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(what: &str, ours: T, theirs: T) -> Outcome {
    if ours == theirs {
        Ok(())
    } else {
        Err(format!("{what}: here {ours:?}, vector {theirs:?}"))
    }
}

/// As [`same`] for bytes, printed in hex.
pub(crate) fn same_bytes(what: &str, ours: &[u8], theirs: &[u8]) -> Outcome {
    same(what, hex(ours), hex(theirs))
}

/// Compares the class of error of a result with what the vector says. `Some` when both are good.
pub(crate) fn good<T, E: std::fmt::Debug>(
    vector: &Vector,
    result: Result<T, E>,
    class: impl Fn(&E) -> &'static str,
) -> Result<Option<T>, String> {
    match (result, vector.error()) {
        (Ok(value), None) => Ok(Some(value)),
        (Err(error), Some(expected)) if class(&error) == expected => Ok(None),
        (Err(error), expected) => Err(format!("{error:?}, vector says {expected:?}")),
        (Ok(_), Some(expected)) => Err(format!("accepted, vector says {expected}")),
    }
}
