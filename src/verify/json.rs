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

/// Up to so many names are compared with each other as they come; if there are more, all of them are
/// sorted, so that nobody can make this take long.
const FEW: usize = 16;

/// The text is not such an object, or a member has not the type that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Where the members of an object stand in its text.
#[derive(Default)]
pub(crate) struct Members {
    list: SmallVec<[Member; 16]>,
    /// A bit for each name that is there, and perhaps for others: most names that are asked for
    /// are not there.
    bits: u64,
    /// What the [`Scanner`] found out about the text.
    is_plain: bool,
    /// What names say that are written with escapes.
    unescaped: String,
}

struct Member {
    /// The first eight bytes of the name.
    prefix: u64,
    /// In the text; or in `unescaped`, if it is written with escapes.
    name: Span,
    value: Span,
    is_escaped: bool,
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
        let mut members = Self::default();
        members.fill(text)?;
        Ok(members)
    }

    /// Adds the members of the one object that is `text`.
    pub(crate) fn fill(&mut self, text: &str) -> Result<(), Malformed> {
        // Spans reach no further.
        if text.len() > u16::MAX as usize {
            return Err(Malformed);
        }
        let scanner = Scanner::new(text);
        let start = scanner.after_space(0);
        let end = self.scan(scanner, start, MAX_DEPTH - 1).ok_or(Malformed)?;
        if scanner.after_space(end) == text.len() {
            Ok(())
        } else {
            Err(Malformed)
        }
    }

    /// Adds the members of the object that begins `at`; where it ends. Within its values,
    /// `max_depth` brackets may be open.
    fn scan(&mut self, scanner: Scanner<'_>, at: usize, max_depth: u32) -> Option<usize> {
        let end = self.scan_members(scanner, at, max_depth)?;
        (self.list.len() <= FEW || self.are_names_distinct(scanner.text)).then_some(end)
    }

    fn are_names_distinct(&self, text: &str) -> bool {
        let mut names: Vec<_> = (self.list.iter())
            .map(|member| self.name(text, member))
            .collect();
        names.sort_unstable();
        names.windows(2).all(|pair| pair[0] != pair[1])
    }

    fn scan_members(&mut self, scanner: Scanner<'_>, at: usize, max_depth: u32) -> Option<usize> {
        self.is_plain = scanner.is_plain;
        let mut at = scanner.after_space(scanner.after(b'{', at)?);
        if let Some(end) = scanner.after(b'}', at) {
            return Some(end);
        }
        loop {
            let name = scanner.string(at)?;
            let start = scanner.after_colon(name)?;
            let end = scanner.after_value(start, max_depth)?;
            self.add(scanner, name, Span::truncated(start, end))?;
            at = scanner.after_space(end);
            if let Some(end) = scanner.after(b'}', at) {
                return Some(end);
            }
            at = scanner.after_space(scanner.after(b',', at)?);
        }
    }

    #[inline(always)]
    fn add(&mut self, scanner: Scanner<'_>, name: RawString, value: Span) -> Option<()> {
        let member = if name.is_escaped {
            let unescaped = name.unescape(scanner.text).ok()?;
            let start = self.unescaped.len();
            self.unescaped.push_str(&unescaped);
            Member {
                prefix: prefix(unescaped.as_bytes()),
                name: Span::new(start, self.unescaped.len())?,
                value,
                is_escaped: true,
            }
        } else {
            Member {
                prefix: scanner.prefix(name.span),
                name: name.span,
                value,
                is_escaped: false,
            }
        };
        let is_known = self.list.len() < FEW
            && self.bits & bit(member.prefix) != 0
            && self
                .search(
                    scanner.text,
                    member.prefix,
                    self.name(scanner.text, &member),
                )
                .is_some();
        if is_known || self.list.len() == MAX_MEMBERS {
            return None;
        }
        self.bits |= bit(member.prefix);
        self.list.push(member);
        Some(())
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
    #[inline]
    fn find(&self, text: &str, name: &str) -> Option<Span> {
        let prefix = prefix(name.as_bytes());
        if self.bits & bit(prefix) == 0 {
            return None;
        }
        self.search(text, prefix, name)
    }

    #[inline]
    fn search(&self, text: &str, prefix: u64, name: &str) -> Option<Span> {
        let is_it = |member: &&Member| {
            member.prefix == prefix
                && member.name.len() == name.len()
                && (name.len() <= 8 || self.name(text, member) == name)
        };
        self.list.iter().find(is_it).map(|member| member.value)
    }
}

/// The first eight bytes of a name; of a shorter one, all of them.
#[inline]
fn prefix(name: &[u8]) -> u64 {
    match name.first_chunk() {
        Some(chunk) => u64::from_le_bytes(*chunk),
        None => name
            .iter()
            .rfold(0, |prefix, b| prefix << 8 | u64::from(*b)),
    }
}

/// One of 64 bits, by the odds of a multiplicative hash.
#[inline]
const fn bit(prefix: u64) -> u64 {
    1 << (prefix.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 58)
}

impl<'a> Object<'a> {
    pub(crate) const fn new(text: &'a str, members: &'a Members) -> Self {
        Self { text, members }
    }

    pub(crate) const fn text(self) -> &'a str {
        self.text
    }

    #[inline]
    pub(crate) fn has(self, name: &str) -> bool {
        self.get(name).is_some()
    }

    #[inline]
    fn get(self, name: &str) -> Option<Span> {
        self.members.find(self.text, name)
    }

    #[inline]
    pub(crate) fn raw_string(self, name: &str) -> Result<Option<RawString>, Malformed> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let text = value.of(self.text);
        let inside = text.strip_prefix('"').ok_or(Malformed)?;
        Ok(Some(RawString {
            span: Span::truncated(value.start() + 1, value.end() - 1),
            is_escaped: !self.members.is_plain && inside.contains('\\'),
        }))
    }

    fn scanner(self) -> Scanner<'a> {
        Scanner {
            text: self.text,
            is_plain: self.members.is_plain,
        }
    }

    #[inline]
    pub(crate) fn string(self, name: &str) -> Result<Option<Cow<'a, str>>, Malformed> {
        self.raw_string(name)?
            .map(|string| string.unescape(self.text))
            .transpose()
    }

    /// A `NumericDate`: a JSON number, with or without a fraction (RFC 7519 §2).
    #[inline]
    pub(crate) fn numeric_date(self, name: &str) -> Result<Option<UnixTime>, Malformed> {
        self.get(name)
            .map(|value| numeric_date(value.of(self.text)).ok_or(Malformed))
            .transpose()
    }

    /// A string, or an array of strings: the shape of `aud`, and of scopes.
    #[inline]
    pub(crate) fn string_or_strings(self, name: &str) -> Result<Strings<'a>, Malformed> {
        Strings::of(self.scanner(), self.get(name), true)
    }

    /// The members of a member that is an object; their spans are those of the same text.
    pub(crate) fn object(self, name: &str) -> Result<Option<Members>, Malformed> {
        self.value(name).map(Value::members).transpose()
    }

    /// A value of any type.
    pub(crate) fn value(self, name: &str) -> Option<Value<'a>> {
        let span = self.get(name)?;
        Some(Value {
            scanner: self.scanner(),
            span,
        })
    }

    /// The names of the members; those that are written with escapes, as what they say.
    pub(crate) fn names(self) -> impl Iterator<Item = Name<'a>> {
        let members = self.members;
        members.list.iter().map(|member| {
            if member.is_escaped {
                Name::Unescaped(member.name.of(&members.unescaped))
            } else {
                Name::InText(member.name)
            }
        })
    }
}

/// The name of a member.
pub(crate) enum Name<'a> {
    /// As it stands in the text.
    InText(Span),
    /// What it says, for it stands there with escapes.
    Unescaped(&'a str),
}

/// A value where it stands.
#[derive(Clone, Copy)]
pub(crate) struct Value<'a> {
    scanner: Scanner<'a>,
    span: Span,
}

impl<'a> Value<'a> {
    pub(crate) fn text(self) -> &'a str {
        self.span.of(self.scanner.text)
    }

    /// The strings of the array that it is.
    pub(crate) fn strings(self) -> Result<Strings<'a>, Malformed> {
        Strings::of(self.scanner, Some(self.span), false)
    }

    /// The string that it is.
    pub(crate) fn string(self) -> Result<RawString, Malformed> {
        self.scanner.string(self.span.start()).ok_or(Malformed)
    }

    /// What a string of the same text says.
    pub(crate) fn unescaped(self, string: RawString) -> Result<Cow<'a, str>, Malformed> {
        string.unescape(self.scanner.text)
    }

    /// The text that it stands in, and that spans are of.
    pub(crate) const fn whole_text(self) -> &'a str {
        self.scanner.text
    }

    /// A member of the object that it is.
    pub(crate) fn member(self, name: &str) -> Result<Option<Self>, Malformed> {
        let members = self.members()?;
        Ok(Object::new(self.scanner.text, &members)
            .get(name)
            .map(|span| Self { span, ..self }))
    }

    /// The members of the object that it is.
    pub(crate) fn members(self) -> Result<Members, Malformed> {
        let mut members = Members::default();
        let end = members.scan(self.scanner, self.span.start(), MAX_DEPTH);
        end.map(|_| members).ok_or(Malformed)
    }

    /// The elements of the array that it is; `None` if it is none.
    pub(crate) fn elements(self) -> Option<impl Iterator<Item = Self>> {
        let scanner = self.scanner;
        let mut at = scanner.after_space(scanner.after(b'[', self.span.start())?);
        Some(std::iter::from_fn(move || {
            let end = scanner.after_value(at, MAX_DEPTH)?;
            let span = Span::truncated(at, end);
            at = scanner.after_space(end);
            // Behind the last one stands a bracket, with which no value begins.
            at = scanner
                .after(b',', at)
                .map_or(at, |at| scanner.after_space(at));
            Some(Self { scanner, span })
        }))
    }
}

impl RawString {
    /// A string without escapes.
    pub(crate) const fn plain(span: Span) -> Self {
        Self {
            span,
            is_escaped: false,
        }
    }

    /// What the string says.
    #[inline]
    pub(crate) fn unescape(self, text: &str) -> Result<Cow<'_, str>, Malformed> {
        if self.is_escaped {
            self.unescaped(text).map(Cow::Owned)
        } else {
            Ok(Cow::Borrowed(self.span.of(text)))
        }
    }

    #[cold]
    fn unescaped(self, text: &str) -> Result<String, Malformed> {
        let quoted = text
            .get(self.span.start() - 1..=self.span.end())
            .ok_or(Malformed)?;
        serde_json::from_str(quoted).map_err(|_| Malformed)
    }
}

/// The strings of a member, one after the other. Anything else among them is an error.
pub(crate) struct Strings<'a> {
    scanner: Scanner<'a>,
    next: Next,
}

/// Where the next string begins, if there is one.
#[derive(Clone, Copy)]
enum Next {
    Nothing,
    /// One string that stands by itself.
    Only(usize),
    Element(usize),
}

impl<'a> Strings<'a> {
    fn of(scanner: Scanner<'a>, value: Option<Span>, may_be_one: bool) -> Result<Self, Malformed> {
        let next = match value.map(Span::start) {
            None => Next::Nothing,
            Some(at) if may_be_one && scanner.peek(at) == Some(b'"') => Next::Only(at),
            Some(at) => {
                let at = scanner.after_space(scanner.after(b'[', at).ok_or(Malformed)?);
                match scanner.after(b']', at) {
                    Some(_) => Next::Nothing,
                    None => Next::Element(at),
                }
            }
        };
        Ok(Self { scanner, next })
    }

    /// Whether it is one string that stands by itself.
    pub(crate) const fn is_lone(&self) -> bool {
        matches!(self.next, Next::Only(_))
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
        let (Next::Only(at) | Next::Element(at)) = self.next else {
            return None;
        };
        let string = self.scanner.string(at);
        self.next = match (self.next, string) {
            (Next::Element(_), Some(string)) => {
                let end = self.scanner.after_space(string.span.end() + 1);
                match self.scanner.after(b',', end) {
                    Some(at) => Next::Element(self.scanner.after_space(at)),
                    None => Next::Nothing,
                }
            }
            _ => Next::Nothing,
        };
        Some(string.ok_or(Malformed))
    }
}

/// A JSON number, as the grammar has it, as a date.
fn numeric_date(number: &str) -> Option<UnixTime> {
    // Whole seconds, up to what is exact in either representation.
    if number.len() <= 15 {
        let whole = number.bytes().try_fold(0, |seconds: u64, b| {
            b.is_ascii_digit()
                .then(|| seconds * 10 + u64::from(b - b'0'))
        });
        if whole.is_some() {
            return whole.map(UnixTime::from_secs);
        }
    }
    // Of what Rust takes for a number but JSON does not, only words can be here.
    let seconds = number
        .parse()
        .ok()
        .filter(|seconds: &f64| seconds.is_finite())?;
    UnixTime::from_numeric_date(seconds)
}

/// Goes over JSON text: from where something begins to where it ends, if it is well formed.
#[derive(Clone, Copy)]
struct Scanner<'a> {
    text: &'a str,
    /// Whether there is neither a backslash nor a control character in the text, so that a string
    /// ends at the next quote. So it is with nearly all tokens.
    is_plain: bool,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Self {
        let is_odd = |b: u8| u8::from(b < 0x20) | u8::from(b == b'\\');
        let is_plain = text.bytes().fold(0, |odd, b| odd | is_odd(b)) == 0;
        Self { text, is_plain }
    }

    fn rest(self, at: usize) -> &'a [u8] {
        self.text.as_bytes().get(at..).unwrap_or_default()
    }

    #[inline]
    fn peek(self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    #[inline]
    fn after(self, byte: u8, at: usize) -> Option<usize> {
        (self.peek(at) == Some(byte)).then_some(at + 1)
    }

    #[inline]
    fn after_space(self, mut at: usize) -> usize {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek(at) {
            at += 1;
        }
        at
    }

    /// After the colon behind a member's name.
    #[inline]
    fn after_colon(self, name: RawString) -> Option<usize> {
        let colon = self.after_space(name.span.end() + 1);
        Some(self.after_space(self.after(b':', colon)?))
    }

    /// The first eight bytes of a name that is not escaped.
    #[inline]
    fn prefix(self, name: Span) -> u64 {
        match self.rest(name.start()).first_chunk() {
            Some(chunk) if name.len() < 8 => {
                u64::from_le_bytes(*chunk) & !(u64::MAX << (8 * name.len()))
            }
            Some(chunk) => u64::from_le_bytes(*chunk),
            None => prefix(name.of(self.text).as_bytes()),
        }
    }

    #[inline(always)]
    fn string(self, at: usize) -> Option<RawString> {
        let end = self.after_string(at)?;
        let span = Span::truncated(at + 1, end - 1);
        let is_escaped = !self.is_plain && span.of(self.text).contains('\\');
        Some(RawString { span, is_escaped })
    }

    #[inline(always)]
    fn after_string(self, at: usize) -> Option<usize> {
        let start = self.after(b'"', at)?;
        let end = if self.is_plain {
            start + length_to_quote(self.rest(start))
        } else {
            self.end_of_odd_string(start)?
        };
        self.after(b'"', end)
    }

    /// Where a string ends that may have escapes in it.
    #[cold]
    fn end_of_odd_string(self, mut at: usize) -> Option<usize> {
        loop {
            let is_inside = |b: &&u8| !matches!(**b, b'"' | b'\\' | 0..0x20);
            at += self.rest(at).iter().take_while(is_inside).count();
            match self.peek(at)? {
                b'"' => return Some(at),
                b'\\' => at = self.after_escape(at)?,
                _ => return None,
            }
        }
    }

    /// Whether surrogates come in pairs is looked at when the string is read.
    fn after_escape(self, at: usize) -> Option<usize> {
        match self.rest(at) {
            [
                _,
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't',
                ..,
            ] => Some(at + 2),
            [_, b'u', a, b, c, d, ..] => [a, b, c, d]
                .iter()
                .all(|digit| digit.is_ascii_hexdigit())
                .then_some(at + 6),
            _ => None,
        }
    }

    /// `-? (0 | [1-9][0-9]*) (\.[0-9]+)? ([eE][+-]?[0-9]+)?`
    #[inline]
    fn after_number(self, at: usize) -> Option<usize> {
        let at = self.after(b'-', at).unwrap_or(at);
        let mut at = match self.after(b'0', at) {
            Some(at) => at,
            None => self.after_digits(at)?,
        };
        if let Some(fraction) = self.after(b'.', at) {
            at = self.after_digits(fraction)?;
        }
        if let Some(b'e' | b'E') = self.peek(at) {
            at += 1;
            if let Some(b'+' | b'-') = self.peek(at) {
                at += 1;
            }
            at = self.after_digits(at)?;
        }
        Some(at)
    }

    #[inline]
    fn after_digits(self, start: usize) -> Option<usize> {
        let mut at = start;
        while let Some(b'0'..=b'9') = self.peek(at) {
            at += 1;
        }
        (at > start).then_some(at)
    }

    fn after_word(self, word: &str, at: usize) -> Option<usize> {
        let is_there = self.rest(at).starts_with(word.as_bytes());
        is_there.then_some(at + word.len())
    }

    /// Any value. At most `max_depth` brackets may be open at once; 32 at most.
    #[inline]
    fn after_value(self, at: usize, max_depth: u32) -> Option<usize> {
        match self.peek(at)? {
            b'{' | b'[' => self.after_brackets(at, max_depth),
            _ => self.after_scalar(at),
        }
    }

    /// A string, number or word.
    #[inline(always)]
    fn after_scalar(self, at: usize) -> Option<usize> {
        match self.peek(at)? {
            b'"' => self.after_string(at),
            b'-' | b'0'..=b'9' => self.after_number(at),
            b't' => self.after_word("true", at),
            b'f' => self.after_word("false", at),
            b'n' => self.after_word("null", at),
            _ => None,
        }
    }

    #[inline(always)]
    fn after_brackets(self, mut at: usize, max_depth: u32) -> Option<usize> {
        let mut depth = 0;
        // A bit for each open bracket, the innermost lowest: whether it is an object's.
        let mut objects = 0_u32;
        loop {
            // Here a value begins.
            let (is_object, closing) = match self.peek(at)? {
                b'{' => (1, b'}'),
                b'[' => (0, b']'),
                _ => (2, 0),
            };
            if is_object == 2 {
                at = self.after_scalar(at)?;
            } else {
                if depth == max_depth {
                    return None;
                }
                at = self.after_space(at + 1);
                match self.after(closing, at) {
                    Some(end) => at = end,
                    None => {
                        depth += 1;
                        objects = objects << 1 | is_object;
                        if is_object == 1 {
                            at = self.after_colon(self.string(at)?)?;
                        }
                        continue;
                    }
                }
            }
            // Here a value has ended, and with it, perhaps, those around it.
            loop {
                if depth == 0 {
                    return Some(at);
                }
                let is_object = objects & 1 == 1;
                at = self.after_space(at);
                match self.after(if is_object { b'}' } else { b']' }, at) {
                    Some(end) => {
                        at = end;
                        depth -= 1;
                        objects >>= 1;
                    }
                    None => {
                        at = self.after_space(self.after(b',', at)?);
                        if is_object {
                            at = self.after_colon(self.string(at)?)?;
                        }
                        break;
                    }
                }
            }
        }
    }
}

/// How many bytes come before a quote. Strings are short, so that this beats wider searches.
#[inline]
fn length_to_quote(bytes: &[u8]) -> usize {
    const LOW: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);

    let mut rest = bytes;
    while let Some((chunk, after)) = rest.split_first_chunk() {
        let x = u64::from_le_bytes(*chunk) ^ (LOW * b'"' as u64);
        // Sets the high bit of each byte that is zero. Bytes after the first such may be wrong,
        // since the subtraction borrows from them; the first is not.
        let quotes = x.wrapping_sub(LOW) & !x & HIGH;
        if quotes != 0 {
            return bytes.len() - rest.len() + quotes.trailing_zeros() as usize / 8;
        }
        rest = after;
    }
    bytes.len() - rest.len() + rest.iter().take_while(|b| **b != b'"').count()
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
            let strings = |name| match object.value(name) {
                Some(value) => texts(value.strings()?),
                None => Ok(Vec::new()),
            };
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

    /// Names are compared in another way where there are many of them.
    #[test]
    fn a_name_that_comes_twice_is_found_among_many() {
        for count in [2, 15, 16, 17, 18, 200] {
            let mut members: Vec<_> = (0..count)
                .map(|n| format!("\"https://claims.example/{n}\":{n}"))
                .collect();
            let text = |members: &[String]| format!("{{{}}}", members.join(","));
            assert!(Members::of(&text(&members)).is_ok(), "{count}");
            for again in [0, count / 2, count - 1] {
                for name in [format!("/{again}"), format!("\\u002f{again}")] {
                    members.push(format!("\"https://claims.example{name}\":0"));
                    assert!(Members::of(&text(&members)).is_err(), "{again} of {count}");
                    let nested = format!("{{\"a\":{}}}", text(&members));
                    with(&nested, |object| assert!(object.object("a").is_err()));
                    members.pop();
                }
            }
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
                        let ours = object.value(&name).unwrap().strings().and_then(texts).ok();
                        prop_assert_eq!(ours, strings);
                        let date = serde_json::from_str::<f64>(value.get())
                            .ok()
                            .and_then(UnixTime::from_numeric_date);
                        // Theirs is not exact in the last digits.
                        let seconds = |date: UnixTime| date.as_secs() as f64;
                        let ours = object.numeric_date(&name).ok().flatten().map(seconds);
                        match (ours, date.map(seconds)) {
                            (Some(ours), Some(theirs)) => {
                                prop_assert!((ours - theirs).abs() <= 1.0 + theirs / 1e12);
                            }
                            (ours, theirs) => prop_assert_eq!(ours, theirs),
                        }
                    }
                }
                (ours, theirs) => prop_assert!(
                    false, "we: {}, serde_json: {}", ours.is_ok(), theirs.is_some()
                ),
            }
        }
    }
}
