//! Parts of a body: extension blocks, compressed and typed values, BATCH and ERR values.

use kv_proto::typed::Value;
use kv_proto::{
    Batch, BatchError, DecompressError, ErrorBody, ExtError, ExtSet, Extensions, Opcode,
    OpcodeByte, decompress,
};

use crate::vector::{Outcome, Vector, good, hex, same, same_bytes, unhex};

/// Every extension there is.
pub(crate) fn all_extensions() -> ExtSet {
    let of_opcodes = Opcode::ALL
        .iter()
        .fold(ExtSet::NONE, |set, opcode| set.with(opcode.info().ext));
    of_opcodes.with(ExtSet::REQUEST)
}

pub(crate) fn extensions(vector: &Vector) -> Outcome {
    let block = vector.bytes("block");
    let allowed = if vector.has("opcode") {
        Opcode::try_from(OpcodeByte(vector.number("opcode")))
            .unwrap()
            .info()
            .ext
    } else {
        all_extensions()
    };
    let class = |error: &ExtError| match error {
        ExtError::Malformed(_) => "malformed",
        ExtError::UnknownCritical(_) => "unsupported",
        ExtError::NotHere(_) => "not_here",
    };
    let Some(got) = good(vector, Extensions::decode(&block, allowed), class)? else {
        return Ok(());
    };
    let mut expected = Vec::new();
    for item in vector.list("items") {
        let bytes = item.bytes("bytes");
        expected.extend_from_slice(&[item.number("tag"), u8::try_from(bytes.len()).unwrap()]);
        expected.extend_from_slice(&bytes);
    }
    same_bytes("items", got.encode().as_bytes(), &expected)
}

pub(crate) fn compression(vector: &Vector) -> Outcome {
    let class = |error: &DecompressError| match error {
        DecompressError::TooLong { .. } => "too_large",
        DecompressError::Malformed => "compressed",
        DecompressError::OutOfMemory => "another",
    };
    let result = decompress(&vector.bytes("value"), vector.number("max_message"));
    match good(vector, result, class)? {
        Some(original) => same_bytes("original", &original, &vector.bytes("original")),
        None => Ok(()),
    }
}

pub(crate) fn batch(vector: &Vector) -> Outcome {
    let value = vector.bytes("value");
    let reply = vector.0["reply"].as_bool().unwrap();
    let class = |error: &BatchError| match error {
        BatchError::Malformed(_) => "malformed",
        BatchError::TooManyItems => "too_large",
    };
    let result = if reply {
        Batch::replies(&value)
    } else {
        Batch::requests(&value)
    };
    let Some(batch) = good(vector, result, class)? else {
        return Ok(());
    };
    same("count", batch.len(), vector.number("count"))?;
    same("items", batch.iter().count(), vector.number("count"))?;
    if vector.has("items") {
        for (item, expected) in batch.iter().zip(vector.list("items")) {
            same("opcode", item.opcode, OpcodeByte(expected.number("opcode")))?;
            same_bytes("extension block", item.ext, &expected.bytes("ext"))?;
            same_bytes("key", item.key, &expected.bytes("key"))?;
            same_bytes("value", item.value, &expected.bytes("value"))?;
        }
    }
    Ok(())
}

pub(crate) fn error_body(vector: &Vector) -> Outcome {
    let value = vector.bytes("value");
    let Some(body) = good(vector, ErrorBody::decode(&value), |_| "malformed")? else {
        return Ok(());
    };
    same("code", body.code, vector.number("code"))?;
    same(
        "retry_after_ms",
        body.retry_after_ms,
        vector.number("retry_after_ms"),
    )?;
    same("message", body.message, vector.text("message"))?;
    let mut again = Vec::new();
    body.encode(&mut again);
    same_bytes("encoded again", &again, &value)
}

pub(crate) fn typed(vector: &Vector) -> Outcome {
    let bytes = vector.bytes("bytes");
    let Some(value) = good(vector, Value::decode(&bytes), |_| "malformed")? else {
        return Ok(());
    };
    if vector.has("value") {
        describes(&value, &vector.0["value"])?;
    }
    let mut again = Vec::new();
    value.encode(&mut again).map_err(|e| e.to_string())?;
    same_bytes(
        "shortest",
        &again,
        &vector.maybe("shortest").unwrap_or(bytes),
    )
}

fn describes(value: &Value, json: &serde_json::Value) -> Outcome {
    let (kind, said) = json.as_object().unwrap().iter().next().unwrap();
    match (value, kind.as_str()) {
        (Value::Nil, "nil") => Ok(()),
        (Value::Bool(b), "bool") => same("bool", *b, said.as_bool().unwrap()),
        (Value::Int(n), "int") => same("int", n.to_string().as_str(), said.as_str().unwrap()),
        (Value::UInt(n), "int") => same("int", n.to_string().as_str(), said.as_str().unwrap()),
        (Value::Float(x), "float64") => same(
            "float",
            hex(&x.to_be_bytes()).as_str(),
            said.as_str().unwrap(),
        ),
        (Value::Str(s), "str") => same("str", s.as_str(), said.as_str().unwrap()),
        (Value::Bytes(b), "bin") => same_bytes("bin", b, &unhex(said.as_str().unwrap())),
        (Value::Array(items), "array") => {
            let said = said.as_array().unwrap();
            same("length", items.len(), said.len())?;
            items
                .iter()
                .zip(said)
                .try_for_each(|(item, said)| describes(item, said))
        }
        (Value::Map(pairs), "map") => {
            let said = said.as_array().unwrap();
            same("length", pairs.len(), said.len())?;
            pairs.iter().zip(said).try_for_each(|((key, value), said)| {
                describes(key, &said[0])?;
                describes(value, &said[1])
            })
        }
        _ => Err(format!("{value:?} is not {json}")),
    }
}
