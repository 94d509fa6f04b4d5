//! One JSON object, taken apart once: its members by name, each as the text of its value.
//!
//! Names occur once (RFC 7515 §4, RFC 7519 §4: two members of one name are refused), nesting and
//! count are bounded, nothing follows the object, and what nobody asks for is never built.

use std::{borrow::Cow, fmt, ops::Range};

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::time::UnixTime;

/// No token that means well nests deeper, or has more members.
const MAX_DEPTH: usize = 32;
const MAX_MEMBERS: usize = 256;

/// The text is not such an object, or a member has not the type that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

pub(crate) struct Object {
    text: String,
    members: Vec<(Name, Range<usize>)>,
}

/// A member's name: where it stands in the text or, if written with escapes, what it says.
enum Name {
    Verbatim(Range<usize>),
    Escaped(String),
}

impl Object {
    pub(crate) fn parse(text: String) -> Result<Self, Malformed> {
        if depth(&text) > MAX_DEPTH {
            return Err(Malformed);
        }
        let Members(found) = serde_json::from_str(&text).map_err(|_| Malformed)?;
        let range_of = |part: &str| {
            let start = part.as_ptr() as usize - text.as_ptr() as usize;
            start..start + part.len()
        };
        let members = found
            .into_iter()
            .map(|(name, value)| {
                let name = match name {
                    Cow::Borrowed(name) => Name::Verbatim(range_of(name)),
                    Cow::Owned(name) => Name::Escaped(name),
                };
                (name, range_of(value.get()))
            })
            .collect();
        Ok(Self { text, members })
    }

    /// The object's text, as it was given.
    pub(crate) fn into_text(self) -> String {
        self.text
    }

    fn get(&self, wanted: &str) -> Option<&str> {
        self.members.iter().find_map(|(name, value)| {
            let name = match name {
                Name::Verbatim(range) => &self.text[range.clone()],
                Name::Escaped(name) => name,
            };
            (name == wanted).then(|| &self.text[value.clone()])
        })
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The member's value as a `T`, if there is such a member.
    fn read<'a, T: Deserialize<'a>>(&'a self, name: &str) -> Result<Option<T>, Malformed> {
        self.get(name)
            .map(|value| serde_json::from_str(value).map_err(|_| Malformed))
            .transpose()
    }

    pub(crate) fn string(&self, name: &str) -> Result<Option<Cow<'_, str>>, Malformed> {
        Ok(self.read(name)?.map(|Text(text)| text))
    }

    pub(crate) fn owned_string(&self, name: &str) -> Result<Option<String>, Malformed> {
        self.read(name)
    }

    /// A `NumericDate`: a JSON number, with or without a fraction (RFC 7519 §2).
    pub(crate) fn numeric_date(&self, name: &str) -> Result<Option<UnixTime>, Malformed> {
        self.read(name)?
            .map(|seconds| UnixTime::from_numeric_date(seconds).ok_or(Malformed))
            .transpose()
    }

    pub(crate) fn strings(&self, name: &str) -> Result<Option<Vec<String>>, Malformed> {
        self.read(name)
    }

    /// A string, or an array of strings: the shape of `aud`, and of scopes.
    pub(crate) fn string_or_strings(&self, name: &str) -> Result<Option<Vec<String>>, Malformed> {
        match self.get(name) {
            Some(value) if value.starts_with('"') => {
                Ok(self.owned_string(name)?.map(|one| vec![one]))
            }
            _ => self.strings(name),
        }
    }

    /// The member as an object of its own.
    pub(crate) fn object(&self, name: &str) -> Result<Option<Self>, Malformed> {
        self.get(name)
            .map(|value| Self::parse(value.to_owned()))
            .transpose()
    }
}

/// The deepest nesting of brackets outside of strings. Exact for JSON; for what is no JSON the
/// parser has the last word.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for b in text.bytes() {
        match b {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::with_capacity(16);
                while let Some(Text(name)) = map.next_key()? {
                    if members.len() == MAX_MEMBERS || members.iter().any(|(seen, _)| *seen == name)
                    {
                        // Let the parser finish nothing more of it.
                        map.next_value::<IgnoredAny>()?;
                        return Err(de::Error::custom("too many members, or one twice"));
                    }
                    members.push((name, map.next_value()?));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

/// A string that is borrowed where it has no escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Object, Malformed> {
        Object::parse(text.to_owned())
    }

    #[test]
    fn members_are_read_by_name_and_type() {
        let object = parse(
            r#" {"s":"a\"b","n":-1.5,"l":["x","y"],"o":{"i":{"j":[1]}}, "\u0065sc" : "\u00e9", "":""} "#,
        )
        .unwrap_or_else(|_| panic!("refused"));
        assert_eq!(object.string("s").unwrap().unwrap(), "a\"b");
        assert_eq!(object.string("esc").unwrap().unwrap(), "é");
        assert_eq!(object.string("").unwrap().unwrap(), "");
        assert_eq!(object.string("absent"), Ok(None));
        assert_eq!(object.numeric_date("n"), Ok(Some(UnixTime::default())));
        assert_eq!(object.strings("l").unwrap().unwrap(), ["x", "y"]);
        assert_eq!(object.string_or_strings("l").unwrap().unwrap(), ["x", "y"]);
        assert_eq!(object.string_or_strings("s").unwrap().unwrap(), ["a\"b"]);
        let inner = object.object("o").unwrap().unwrap().object("i");
        assert!(inner.unwrap().unwrap().has("j"));
        for name in ["n", "l", "o"] {
            assert_eq!(object.string(name), Err(Malformed), "{name}");
        }
        for name in ["s", "l", "o"] {
            assert_eq!(object.numeric_date(name), Err(Malformed), "{name}");
        }
    }

    #[test]
    fn what_is_not_one_plain_object_is_refused() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(40), "]".repeat(40));
        let many: Vec<_> = (0..300).map(|n| format!("\"{n}\":0")).collect();
        for text in [
            "",
            "null",
            "[]",
            "\"a\"",
            "{",
            "{}{}",
            "{} x",
            "\u{feff}{}",
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"a":1,}"#,
            r#"{"a":01}"#,
            r#"{a:1}"#,
            r#"{"a":NaN}"#,
            r#"{"\ud800":1}"#,
            "{\"a\":\"\n\"}",
            &deep,
            &format!("{{{}}}", many.join(",")),
            &"[".repeat(16_000),
        ] {
            assert!(parse(text).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn brackets_in_strings_do_not_nest() {
        let text = format!(r#"{{"a":"\\\"{}"}}"#, "[".repeat(100));
        assert!(parse(&text).is_ok());
        assert_eq!(depth(r#"{"a":[{"b":"]]"}]}"#), 3);
    }

    #[test]
    fn numbers_beyond_any_date_are_refused() {
        let object = parse(r#"{"a":1e400,"b":1e300,"c":"1","d":null,"e":1.7e9}"#)
            .unwrap_or_else(|_| panic!());
        for name in ["a", "b", "c", "d"] {
            assert_eq!(object.numeric_date(name), Err(Malformed), "{name}");
        }
        assert_eq!(
            object.numeric_date("e").unwrap().unwrap().as_secs(),
            1_700_000_000
        );
    }
}
