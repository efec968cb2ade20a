//! The form in which objects are stored: JSON, with their owners aside.
//!
//! Type and metadata come first, for there readers look for them. `metadata.managedFields`, which many objects have in common but
//! for its times, stands behind the JSON in a form of its own:
//!
//! `JSON, owners, place in the JSON where they belong (4 bytes), length of the JSON (4 bytes), mark`; integers are little-endian.
//!
//! What does not end with the mark is JSON alone. Owners that are text, as earlier versions stored them, stay where they are.

use crate::apply::{ManagedError, Owners, ValuesAre};
use crate::canonical::OWNERS;
use crate::value::Json;
use crate::{Map, Value, json};

/// No JSON ends with it.
const MARK: u8 = 2;
/// The former one, behind owners with the values of keys in their texts.
const FORMER_MARK: u8 = 1;

/// Owners that stand behind an object's JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Aside {
    /// The length of the JSON.
    pub json: usize,
    /// Where in the JSON their member belongs: right before the brace that closes `metadata`.
    pub place: usize,
    /// Who owns what.
    pub owners: Owners,
    /// How long the text of that is.
    pub text_len: usize,
}

/// Gives an object's stored form to `with`, and what stands aside.
pub fn encode<T>(object: &Value, with: impl FnOnce(&[u8], Option<Aside>) -> T) -> T {
    const FIRST: [&str; 3] = ["kind", "apiVersion", "metadata"];
    json::in_buffer(|out| {
        let Value::Map(members) = object else {
            json::encode_into(object, out);
            return with(out, None);
        };
        let first = FIRST.iter().filter_map(|name| Some((*name, members.get(name)?)));
        let rest = members.iter().map(|(name, value)| (&**name, value)).filter(|(name, _)| !FIRST.contains(name));
        let mut aside = None;
        out.push(b'{');
        for (index, (name, value)) in first.chain(rest).enumerate() {
            if index > 0 {
                out.push(b',');
            }
            json::encode_string(name, out);
            out.push(b':');
            match value {
                Value::Map(metadata) if name == "metadata" => aside = encode_metadata(metadata, out),
                value => json::encode_into(value, out),
            }
        }
        out.push(b'}');
        let aside = aside.and_then(|(place, owners)| push_aside(place, owners, out));
        with(out, aside)
    })
}

/// Writes metadata without its owners, if these can stand aside: them, and the place where they belong.
fn encode_metadata<'v>(metadata: &'v Map, out: &mut Vec<u8>) -> Option<(usize, &'v Owners)> {
    let owners = match metadata.get(OWNERS) {
        Some(Value::Json(Json::Owners(owners))) => Some(owners),
        _ => None,
    };
    let members = metadata.iter().map(|(name, value)| (&**name, value)).filter(|(name, _)| owners.is_none() || *name != OWNERS);
    json::encode_members(members, out);
    owners.map(|owners| (out.len() - 1, owners))
}

fn push_aside(place: usize, owners: &Owners, out: &mut Vec<u8>) -> Option<Aside> {
    let json = out.len();
    // Objects are not as long by far.
    let (in_file, length) = (u32::try_from(place).ok()?, u32::try_from(json).ok()?);
    owners.store(out);
    out.extend_from_slice(&in_file.to_le_bytes());
    out.extend_from_slice(&length.to_le_bytes());
    out.push(MARK);
    Some(Aside { json, place, owners: owners.clone(), text_len: owners.text_len() })
}

/// What stands behind the JSON of an object.
///
/// # Errors
///
/// When it is damaged.
pub fn aside(stored: &[u8]) -> Result<Option<Aside>, ManagedError> {
    let (values, rest) = match stored.split_last() {
        Some((&MARK, rest)) => (ValuesAre::Aside, rest),
        Some((&FORMER_MARK, rest)) => (ValuesAre::InText, rest),
        _ => return Ok(None),
    };
    let parts = || {
        let (rest, json) = rest.split_last_chunk()?;
        let (rest, place) = rest.split_last_chunk()?;
        let [json, place] = [json, place].map(|number| usize::try_from(u32::from_le_bytes(*number)).ok());
        let (json, place) = (json?, place?);
        let owners = rest.get(json..).filter(|_| rest.get(place) == Some(&b'}') && place < json)?;
        Some((json, place, owners))
    };
    let (json, place, owners) = parts().ok_or_else(|| ManagedError::new("what stands behind a stored object is damaged"))?;
    let owners = Owners::load(owners, values)?;
    let text_len = owners.text_len();
    Ok(Some(Aside { json, place, owners, text_len }))
}

/// Reads the JSON of a stored object as it is. Its own `metadata.managedFields` stay text, if they stand there; those in the metadata
/// of a template, which nobody keeps, are a tree here and text where [`json::decode`] read them, which is the same value.
///
/// # Errors
///
/// When it is no JSON.
pub fn decode(json: &[u8]) -> Result<Value, json::DecodeError> {
    json::decode_stored(json, None)
}

/// The same with the owners that stand aside.
///
/// # Errors
///
/// When it is no JSON.
pub fn decode_with(json: &[u8], owners: Option<&Owners>) -> Result<Value, json::DecodeError> {
    json::decode_stored(json, owners.cloned().map(Value::from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::Managed;
    use crate::value;

    const OWNED: &str = r#"[{"manager":"a","operation":"Update","apiVersion":"v1","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:a":{}}}]"#;

    fn object(owners: Option<Value>) -> Value {
        let mut object = value!({"spec": {"managedFields": "a"}, "metadata": {"name": "x"}, "apiVersion": "v1", "kind": "Pod"});
        if let Some(owners) = owners {
            object.metadata_mut().insert(OWNERS, owners);
            object.metadata_mut().insert("uid", "1");
        }
        object
    }

    fn owners() -> Value {
        Managed::read(Some(&Value::Json(OWNED.into()))).unwrap().value().unwrap()
    }

    #[test]
    fn owners_stand_aside() {
        let object = object(Some(owners()));
        encode(&object, |stored, given| {
            let given = given.unwrap();
            let json = &stored[..given.json];
            let place = r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"x","uid":"1""#;
            assert_eq!(json, format!(r#"{place}}},"spec":{{"managedFields":"a"}}}}"#).as_bytes());
            assert_eq!(given.place, place.len());
            assert_eq!(given.owners.text(), *OWNED);
            assert_eq!(decode_with(json, Some(&given.owners)).unwrap(), object);
            // The former form has no length of values of its own, of which there are none.
            let (owned, end) = stored.split_at(stored.len() - 9);
            let former = [&owned[..owned.len() - 4], &end[..8], &[FORMER_MARK]].concat();
            assert_eq!(aside(&former).unwrap().as_ref(), Some(&given));
            assert_eq!(aside(stored).unwrap(), Some(given));
        });
    }

    #[test]
    fn what_has_no_owners_or_has_them_as_text_is_json() {
        for object in [object(None), object(Some(Value::Json(OWNED.into()))), object(Some(Value::Null)), Value::Null, Value::map()] {
            encode(&object, |stored, given| {
                assert_eq!((given, aside(stored).unwrap()), (None, None));
                assert_eq!(decode(stored).unwrap(), object);
            });
        }
    }

    #[test]
    fn damage_is_told() {
        let stored = encode(&object(Some(owners())), |stored, _| stored.to_vec());
        let end = stored.len();
        for at in end - 9..end {
            let mut damaged = stored.clone();
            damaged[at] ^= 0x40;
            assert!(!matches!(aside(&damaged), Ok(Some(_))), "{at}");
        }
        for begin in 1..end - 1 {
            assert!(aside(&stored[begin..]).is_err(), "{begin}");
        }
    }
}
