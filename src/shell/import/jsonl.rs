//! An object a line, of which two fields are the key and the value.
//!
//! A field that is text is its characters; a number, `true`, `false`, an array or an object is its JSON, as it is written there.
//! `null` is nothing, which can't be stored. A field `NAME_b64` holds in base64 what `NAME` can't,
//! and `expires` the moment at which the value expires, unless the fields are named otherwise than `.export` does.

use std::collections::HashMap;
use std::io::BufRead;

use serde_json::value::RawValue;

use super::lines::Lines;
use super::{Record, Wrong, from_base64, moment};
use crate::shell::failure::Failure;
use crate::shell::literal::brief;

type Object<'a> = HashMap<std::borrow::Cow<'a, str>, &'a RawValue>;

/// Reads the next object and hands out its fields of these names; `None` at the end. Blank lines are passed over.
pub(super) fn next(
    lines: &mut Lines<'_, impl BufRead>,
    names: [&str; 2],
    has_lifetime: bool,
) -> Result<Option<Record>, Failure> {
    while lines.next()? {
        if !lines.text.trim_ascii().is_empty() {
            return record(&lines.text, names, has_lifetime).map(Some).map_err(|wrong| lines.wrong(wrong));
        }
    }
    Ok(None)
}

fn record(line: &[u8], [key, value]: [&str; 2], has_lifetime: bool) -> Result<Record, Wrong> {
    let object: Object<'_> = serde_json::from_slice(line).map_err(|error| not_an_object(line, &error))?;
    let expires = match object.get("expires").filter(|expires| has_lifetime && expires.get() != "null") {
        Some(expires) => moment(&text(expires, "expires")?)?,
        None => None,
    };
    Ok((field(&object, key)?, field(&object, value)?, expires))
}

fn field(object: &Object<'_>, name: &str) -> Result<Vec<u8>, Wrong> {
    let base64 = format!("{name}_b64");
    match (object.get(name), object.get(&*base64)) {
        (Some(_), Some(_)) => {
            Err(Wrong::new(format!("both a field \"{name}\" and a field \"{base64}\""), ""))
        }
        (Some(value), None) => text(value, name),
        (None, Some(value)) => from_base64(&text(value, &base64)?, &base64),
        (None, None) => {
            let shown = brief(name.as_bytes(), 60);
            Err(Wrong::new(format!("no field {shown}"), "--key NAME and --value NAME name the fields"))
        }
    }
}

fn text(value: &RawValue, name: &str) -> Result<Vec<u8>, Wrong> {
    match value.get() {
        "null" => {
            Err(Wrong::new(format!("nothing in the field \"{name}\""), "leave the line out, or store \"\""))
        }
        json if json.starts_with('"') => {
            serde_json::from_str::<String>(json).map(String::into_bytes).map_err(|error| not_json(&error))
        }
        json => Ok(json.as_bytes().to_vec()),
    }
}

fn not_an_object(line: &[u8], error: &serde_json::Error) -> Wrong {
    let found = match serde_json::from_slice::<serde_json::Value>(line) {
        Ok(serde_json::Value::Array(_)) => "an array",
        Ok(serde_json::Value::String(_)) => "a string",
        Ok(serde_json::Value::Number(_)) => "a number",
        Ok(_) => "a word",
        Err(_) => return not_json(error),
    };
    Wrong::new(format!("not a JSON object, but {found}"), "one object a line is expected")
}

fn not_json(error: &serde_json::Error) -> Wrong {
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(&*text, |(text, _)| text);
    Wrong::new(format!("not JSON: {text}, at byte {}", error.column()), "one object a line is expected")
}
