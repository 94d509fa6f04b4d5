//! One JSON object, scanned once: where each of its members stands, and nothing built.
//!
//! The whole text is checked against the grammar (RFC 8259), names occur once (RFC 7515 §4,
//! RFC 7519 §4: two members of one name are refused), nesting and count are bounded, and nothing
//! follows the object. A value is read when somebody asks for it, from where it stands.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::{access_token::Span, time::UnixTime};

/// No token that means well nests deeper, or has more members.
const MAX_DEPTH: u32 = 32;
const MAX_MEMBERS: usize = 256;

/// The text is not such an object, or a member has not the type that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Where the members of an object stand in its text.
#[derive(Default)]
pub(crate) struct Members {
    list: SmallVec<[Member; 24]>,
    /// What names say that are written with escapes.
    unescaped: String,
}

struct Member {
    /// In the text; or in `unescaped`, if it is written with escapes.
    name: Span,
    is_escaped: bool,
    value: Span,
}

/// An object's members, together with their text.
#[derive(Clone, Copy)]
pub(crate) struct Object<'a> {
    text: &'a str,
    members: &'a Members,
}

/// A string where it stands, without its quotes.
#[derive(Clone, Copy)]
pub(crate) struct RawString {
    pub(crate) span: Span,
    pub(crate) is_escaped: bool,
}

impl Members {
    /// The members of the one object that is `text`.
    pub(crate) fn of(text: &str) -> Result<Self, Malformed> {
        let mut scanner = Scanner::new(text, 0);
        scanner.space();
        let members = Self::scan(&mut scanner, MAX_DEPTH - 1)?;
        scanner.space();
        if scanner.at == text.len() {
            Ok(members)
        } else {
            Err(Malformed)
        }
    }

    /// The object at which the scanner stands. Within its values, `max_depth` brackets may be open.
    fn scan(scanner: &mut Scanner<'_>, max_depth: u32) -> Result<Self, Malformed> {
        let mut members = Self::default();
        scanner.expect(b'{')?;
        scanner.space();
        if scanner.take(b'}') {
            return Ok(members);
        }
        loop {
            let name = scanner.name()?;
            let start = scanner.at;
            scanner.value(max_depth)?;
            let value = Span::new(start, scanner.at).ok_or(Malformed)?;
            members.add(scanner.text, name, value)?;
            scanner.space();
            if scanner.take(b'}') {
                return Ok(members);
            }
            scanner.expect(b',')?;
            scanner.space();
        }
    }

    fn add(&mut self, text: &str, name: RawString, value: Span) -> Result<(), Malformed> {
        let span = if name.is_escaped {
            let start = self.unescaped.len();
            self.unescaped.push_str(&name.unescape(text)?);
            Span::new(start, self.unescaped.len()).ok_or(Malformed)?
        } else {
            name.span
        };
        let member = Member {
            name: span,
            is_escaped: name.is_escaped,
            value,
        };
        let is_known = self.find(text, self.name(text, &member)).is_some();
        if is_known || self.list.len() == MAX_MEMBERS {
            return Err(Malformed);
        }
        self.list.push(member);
        Ok(())
    }

    fn name<'a>(&'a self, text: &'a str, member: &Member) -> &'a str {
        let from = if member.is_escaped {
            &self.unescaped
        } else {
            text
        };
        member.name.of(from)
    }

    /// Where the value of this name stands.
    fn find(&self, text: &str, name: &str) -> Option<Span> {
        self.list
            .iter()
            // Lengths differ more often than not, and are compared without a look at the text.
            .filter(|member| member.name.len() == name.len())
            .find(|member| self.name(text, member) == name)
            .map(|member| member.value)
    }
}

impl<'a> Object<'a> {
    pub(crate) const fn new(text: &'a str, members: &'a Members) -> Self {
        Self { text, members }
    }

    pub(crate) fn has(self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn get(self, name: &str) -> Option<Span> {
        self.members.find(self.text, name)
    }

    /// A scanner at the member's value.
    fn at(self, name: &str) -> Option<Scanner<'a>> {
        let value = self.get(name)?;
        Some(Scanner::new(self.text, value.start()))
    }

    pub(crate) fn raw_string(self, name: &str) -> Result<Option<RawString>, Malformed> {
        self.at(name).map(|mut value| value.string()).transpose()
    }

    pub(crate) fn string(self, name: &str) -> Result<Option<Cow<'a, str>>, Malformed> {
        self.raw_string(name)?
            .map(|string| string.unescape(self.text))
            .transpose()
    }

    /// A `NumericDate`: a JSON number, with or without a fraction (RFC 7519 §2).
    pub(crate) fn numeric_date(self, name: &str) -> Result<Option<UnixTime>, Malformed> {
        self.get(name)
            .map(|value| numeric_date(value.of(self.text)).ok_or(Malformed))
            .transpose()
    }

    /// An array of strings.
    pub(crate) fn strings(self, name: &str) -> Result<Strings<'a>, Malformed> {
        match self.at(name) {
            None => Ok(Strings::NONE),
            Some(scanner) => Strings::in_array(scanner),
        }
    }

    /// A string, or an array of strings: the shape of `aud`, and of scopes.
    pub(crate) fn string_or_strings(self, name: &str) -> Result<Strings<'a>, Malformed> {
        match self.at(name) {
            None => Ok(Strings::NONE),
            Some(scanner) if scanner.peek() == Some(b'"') => Ok(Strings {
                scanner,
                next: Next::Only,
            }),
            Some(scanner) => Strings::in_array(scanner),
        }
    }

    /// The members of a member that is an object; their spans are those of the same text.
    pub(crate) fn object(self, name: &str) -> Result<Option<Members>, Malformed> {
        self.at(name)
            .map(|mut scanner| Members::scan(&mut scanner, MAX_DEPTH))
            .transpose()
    }

    pub(crate) const fn text(self) -> &'a str {
        self.text
    }
}

impl RawString {
    /// What the string says.
    pub(crate) fn unescape(self, text: &str) -> Result<Cow<'_, str>, Malformed> {
        if !self.is_escaped {
            return Ok(Cow::Borrowed(self.span.of(text)));
        }
        let quoted = text
            .get(self.span.start() - 1..=self.span.end())
            .ok_or(Malformed)?;
        serde_json::from_str(quoted)
            .map(Cow::Owned)
            .map_err(|_| Malformed)
    }
}

/// The strings of a member, one after the other. Anything else among them is an error.
pub(crate) struct Strings<'a> {
    scanner: Scanner<'a>,
    next: Next,
}

enum Next {
    Nothing,
    /// One string that stands by itself.
    Only,
    Element,
}

impl<'a> Strings<'a> {
    const NONE: Self = Self {
        scanner: Scanner { text: "", at: 0 },
        next: Next::Nothing,
    };

    fn in_array(mut scanner: Scanner<'a>) -> Result<Self, Malformed> {
        scanner.expect(b'[')?;
        scanner.space();
        let next = if scanner.take(b']') {
            Next::Nothing
        } else {
            Next::Element
        };
        Ok(Self { scanner, next })
    }

    /// Whether it is one string that stands by itself.
    pub(crate) const fn is_lone(&self) -> bool {
        matches!(self.next, Next::Only)
    }

    /// What they say, rather than where they stand.
    pub(crate) fn unescaped(self) -> impl Iterator<Item = Result<Cow<'a, str>, Malformed>> {
        let text = self.scanner.text;
        self.map(move |string| string?.unescape(text))
    }
}

impl Iterator for Strings<'_> {
    type Item = Result<RawString, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = std::mem::replace(&mut self.next, Next::Nothing);
        if matches!(next, Next::Nothing) {
            return None;
        }
        let string = self.scanner.string();
        if matches!(next, Next::Element) && string.is_ok() {
            self.scanner.space();
            if self.scanner.take(b',') {
                self.scanner.space();
                self.next = Next::Element;
            }
        }
        Some(string)
    }
}

/// A JSON number, as the grammar has it, as a date.
fn numeric_date(number: &str) -> Option<UnixTime> {
    // Whole seconds, up to what is exact in either representation.
    if number.len() <= 15 && number.bytes().all(|b| b.is_ascii_digit()) {
        return number.parse().ok().map(UnixTime::from_secs);
    }
    // Of what Rust takes for a number but JSON does not, only words can be here.
    let seconds = number
        .parse()
        .ok()
        .filter(|seconds: &f64| seconds.is_finite())?;
    UnixTime::from_numeric_date(seconds)
}

/// Goes over JSON text, byte by byte or eight at once.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    const fn new(text: &'a str, at: usize) -> Self {
        Self { text, at }
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.take(byte) {
            Ok(())
        } else {
            Err(Malformed)
        }
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// A member's name and its colon.
    fn name(&mut self) -> Result<RawString, Malformed> {
        let name = self.string()?;
        self.space();
        self.expect(b':')?;
        self.space();
        Ok(name)
    }

    fn string(&mut self) -> Result<RawString, Malformed> {
        self.expect(b'"')?;
        let start = self.at;
        let mut is_escaped = false;
        loop {
            self.at += length_of_plain(self.rest());
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    is_escaped = true;
                    self.escape()?;
                }
                _ => return Err(Malformed),
            }
        }
        let span = Span::new(start, self.at).ok_or(Malformed)?;
        self.at += 1;
        Ok(RawString { span, is_escaped })
    }

    /// An escape sequence. Whether surrogates come in pairs is looked at when the string is read.
    fn escape(&mut self) -> Result<(), Malformed> {
        self.at += match self.rest() {
            [
                _,
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't',
                ..,
            ] => 2,
            [_, b'u', digits @ ..] if digits.len() >= 4 => {
                if !digits[..4].iter().all(u8::is_ascii_hexdigit) {
                    return Err(Malformed);
                }
                6
            }
            _ => return Err(Malformed),
        };
        Ok(())
    }

    /// `-? (0 | [1-9][0-9]*) (\.[0-9]+)? ([eE][+-]?[0-9]+)?`
    fn number(&mut self) -> Result<(), Malformed> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        let count = self
            .rest()
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count();
        self.at += count;
        if count == 0 { Err(Malformed) } else { Ok(()) }
    }

    fn literal(&mut self, word: &str) -> Result<(), Malformed> {
        if self.rest().starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(())
        } else {
            Err(Malformed)
        }
    }

    /// Any value. At most `max_depth` brackets may be open at once; 32 at most.
    fn value(&mut self, max_depth: u32) -> Result<(), Malformed> {
        let mut depth = 0;
        // A bit for each open bracket, the innermost lowest: whether it is an object's.
        let mut objects = 0_u32;
        loop {
            // Here a value begins.
            let bracket = match self.peek() {
                Some(b'"') => {
                    self.string()?;
                    None
                }
                Some(b'-' | b'0'..=b'9') => {
                    self.number()?;
                    None
                }
                Some(b't') => {
                    self.literal("true")?;
                    None
                }
                Some(b'f') => {
                    self.literal("false")?;
                    None
                }
                Some(b'n') => {
                    self.literal("null")?;
                    None
                }
                Some(b'{') => Some((true, b'}')),
                Some(b'[') => Some((false, b']')),
                _ => return Err(Malformed),
            };
            if let Some((is_object, closing)) = bracket {
                if depth == max_depth {
                    return Err(Malformed);
                }
                self.at += 1;
                self.space();
                if !self.take(closing) {
                    depth += 1;
                    objects = objects << 1 | u32::from(is_object);
                    if is_object {
                        self.name()?;
                    }
                    continue;
                }
            }
            // Here a value has ended, and with it, perhaps, those around it.
            loop {
                if depth == 0 {
                    return Ok(());
                }
                let is_object = objects & 1 == 1;
                self.space();
                if self.take(if is_object { b'}' } else { b']' }) {
                    depth -= 1;
                    objects >>= 1;
                    continue;
                }
                self.expect(b',')?;
                self.space();
                if is_object {
                    self.name()?;
                }
                break;
            }
        }
    }
}

/// How many bytes come before a quote, a backslash or a control character, none of which a string
/// may have in it.
fn length_of_plain(bytes: &[u8]) -> usize {
    const LOW: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    // Sets the high bit of each byte that is zero. Bytes after the first such may be wrong, since
    // the subtraction borrows from them; the first is not.
    let zeros = |x: u64| x.wrapping_sub(LOW) & !x & HIGH;

    let mut length = 0;
    while let Some(chunk) = bytes[length..].first_chunk() {
        let chunk = u64::from_le_bytes(*chunk);
        let quotes = zeros(chunk ^ (LOW * u64::from(b'"')));
        let backslashes = zeros(chunk ^ (LOW * u64::from(b'\\')));
        let controls = chunk.wrapping_sub(LOW * 0x20) & !chunk & HIGH;
        let found = quotes | backslashes | controls;
        if found != 0 {
            return length + found.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    let is_plain = |b: &&u8| !matches!(**b, b'"' | b'\\' | 0..0x20);
    length + bytes[length..].iter().take_while(is_plain).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn with<T>(text: &str, look: impl FnOnce(Object<'_>) -> T) -> T {
        let members = Members::of(text).expect("an object");
        look(Object::new(text, &members))
    }

    fn texts(strings: Strings<'_>) -> Result<Vec<String>, Malformed> {
        strings
            .unescaped()
            .map(|text| text.map(Cow::into_owned))
            .collect()
    }

    #[test]
    fn members_are_read_by_name_and_type() {
        let text = r#" {"s":"a\"b","n":-1.5,"l":["x" , "\u0079"],"o":{"i":{"j":[1]}}, "\u0065sc" : "\u00e9", "":"", "e":[ ],"m":["x",1]} "#;
        with(text, |object| {
            assert_eq!(object.string("s").unwrap().unwrap(), "a\"b");
            assert_eq!(object.string("esc").unwrap().unwrap(), "é");
            assert_eq!(object.string("").unwrap().unwrap(), "");
            assert_eq!(object.string("absent"), Ok(None));
            assert_eq!(object.numeric_date("n"), Ok(Some(UnixTime::default())));
            let strings = |name| texts(object.strings(name)?);
            let either = |name| texts(object.string_or_strings(name)?);
            assert_eq!(strings("l").unwrap(), ["x", "y"]);
            assert_eq!(either("l").unwrap(), ["x", "y"]);
            assert_eq!(either("s").unwrap(), ["a\"b"]);
            assert_eq!(strings("e"), Ok(Vec::new()));
            assert_eq!(strings("absent"), Ok(Vec::new()));
            for name in ["m", "s", "o", "n"] {
                assert_eq!(strings(name), Err(Malformed), "{name}");
            }
            let inner = object.object("o").unwrap().unwrap();
            let inner = Object::new(text, &inner).object("i").unwrap().unwrap();
            assert!(Object::new(text, &inner).has("j"));
            for name in ["n", "l", "o"] {
                assert_eq!(object.string(name), Err(Malformed), "{name}");
            }
            for name in ["s", "l", "o"] {
                assert_eq!(object.numeric_date(name), Err(Malformed), "{name}");
            }
        });
    }

    #[test]
    fn what_is_not_one_plain_object_is_refused() {
        let deep = |levels| format!("{{\"a\":{}1{}}}", "[".repeat(levels), "]".repeat(levels));
        let many = |count| {
            let members: Vec<_> = (0..count).map(|n| format!("\"{n}\":0")).collect();
            format!("{{{}}}", members.join(","))
        };
        assert!(Members::of(&deep(31)).is_ok());
        assert!(Members::of(&many(256)).is_ok());
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
            r#"{"\u0061":1,"\u0061":2}"#,
            r#"{"a":1,}"#,
            r#"{"a":01}"#,
            r#"{"a":1.}"#,
            r#"{"a":-}"#,
            r#"{"a":1e}"#,
            r#"{a:1}"#,
            r#"{"a":NaN}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":[1}}"#,
            r#"{"a":{"b":1]}"#,
            r#"{"a":{1:1}}"#,
            r#"{"\ud800":1}"#,
            r#"{"a":"\x"}"#,
            r#"{"a":"\u12"}"#,
            "{\"a\":\"\n\"}",
            "{\"a\":\"12345678\u{1}\"}",
            &deep(32),
            &many(257),
            &"[".repeat(16_000),
            &"{\"a\":".repeat(3_000),
        ] {
            assert!(Members::of(text).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn brackets_in_strings_do_not_nest() {
        let text = format!(r#"{{"a":"\\\"{}"}}"#, "[".repeat(100));
        assert!(Members::of(&text).is_ok());
    }

    #[test]
    fn numbers_beyond_any_date_are_refused() {
        let text = r#"{"a":1e400,"b":1e300,"c":"1","d":null,"e":1.7e9,"f":1700000000,"g":-0,"h":true,"i":-1e309}"#;
        with(text, |object| {
            for name in ["a", "b", "c", "d", "h", "i"] {
                assert_eq!(object.numeric_date(name), Err(Malformed), "{name}");
            }
            for (name, seconds) in [("e", 1_700_000_000), ("f", 1_700_000_000), ("g", 0)] {
                let date = object.numeric_date(name).unwrap().unwrap();
                assert_eq!(date.as_secs(), seconds, "{name}");
            }
        });
    }

    /// JSON, and JSON that somebody spoiled.
    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
            "[\\x00-\\x7f]{0,24}".prop_map(Value::from),
        ];
        let value = leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c\"\\\\é]{0,3}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        });
        let object = prop::collection::btree_map("[a-c\"\\\\é]{0,3}", value, 0..6)
            .prop_map(|map| Value::Object(map.into_iter().collect()));
        let spoilt = (
            any::<prop::sample::Index>(),
            prop::sample::select(vec![
                "",
                " ",
                "\"",
                "\\",
                "{",
                "}",
                "[",
                "]",
                ",",
                ":",
                "0",
                "-",
                ".",
                "e",
                "u",
                "\n",
                "\\u00e9",
                "\u{1}",
                "true",
                "\\ud83d\\ude00",
            ]),
            any::<bool>(),
        );
        (object, any::<bool>(), prop::collection::vec(spoilt, 0..3)).prop_map(
            |(object, is_pretty, spoilt)| {
                let mut text = if is_pretty {
                    serde_json::to_string_pretty(&object).unwrap()
                } else {
                    object.to_string()
                };
                for (index, with, replace) in spoilt {
                    let mut at = index.index(text.len());
                    while !text.is_char_boundary(at) {
                        at -= 1;
                    }
                    let end = text[at..].chars().next().map_or(at, |c| at + c.len_utf8());
                    text.replace_range(at..if replace { end } else { at }, with);
                    if text.is_empty() {
                        break;
                    }
                }
                text
            },
        )
    }

    /// Objects as serde_json sees them, with every member that is there twice.
    struct Oracle(Vec<(String, Box<serde_json::value::RawValue>)>);

    impl<'de> serde::Deserialize<'de> for Oracle {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Pairs;
            impl<'de> serde::de::Visitor<'de> for Pairs {
                type Value = Oracle;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }

                fn visit_map<A: serde::de::MapAccess<'de>>(
                    self,
                    mut map: A,
                ) -> Result<Oracle, A::Error> {
                    let mut pairs = Vec::new();
                    while let Some(pair) = map.next_entry()? {
                        pairs.push(pair);
                    }
                    Ok(Oracle(pairs))
                }
            }
            deserializer.deserialize_map(Pairs)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        /// Another parser has the same opinion of every text: whether it is an object, and what
        /// its members are.
        #[test]
        fn serde_json_agrees(text in json()) {
            let ours = Members::of(&text);
            let theirs = serde_json::from_str::<Oracle>(&text).ok().filter(|Oracle(pairs)| {
                let mut names: Vec<_> = pairs.iter().map(|(name, _)| name).collect();
                names.sort();
                names.dedup();
                names.len() == pairs.len()
            });
            match (ours, theirs) {
                (Err(Malformed), None) => {}
                (Ok(members), Some(Oracle(pairs))) => {
                    prop_assert_eq!(members.list.len(), pairs.len());
                    let object = Object::new(&text, &members);
                    for (name, value) in pairs {
                        let span = object.get(&name).expect("the same member");
                        prop_assert_eq!(span.of(&text), value.get());
                        let string = serde_json::from_str::<String>(value.get()).ok();
                        let ours = object.string(&name).ok().flatten().map(Cow::into_owned);
                        prop_assert_eq!(ours, string);
                        let strings = serde_json::from_str::<Vec<String>>(value.get()).ok();
                        let ours = object.strings(&name).and_then(texts).ok();
                        prop_assert_eq!(ours, strings);
                        let date = serde_json::from_str::<f64>(value.get())
                            .ok()
                            .and_then(UnixTime::from_numeric_date);
                        prop_assert_eq!(object.numeric_date(&name).ok().flatten(), date);
                    }
                }
                (ours, theirs) => prop_assert!(
                    false, "we: {}, serde_json: {}", ours.is_ok(), theirs.is_some()
                ),
            }
        }
    }
}
