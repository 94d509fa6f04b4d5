//! Claims as data: where one stands, how a list is read from it, and what is asked of it.

use crate::rejection::RejectionKind;

/// Where in the claims something stands: a name, or several, one inside the other.
///
/// Written as a JSON pointer ([RFC 6901](https://www.rfc-editor.org/rfc/rfc6901)) if it begins with
/// a slash, and else as one name, taken literally: `https://app/roles`, `cognito:groups` and
/// `kubernetes.io` are one name each.
///
/// ```
/// use portcullis::ClaimPath;
///
/// let top_level = ClaimPath::from("groups");
/// let nested = ClaimPath::nested(["realm_access", "roles"]);
/// assert_eq!(nested, ClaimPath::from("/realm_access/roles"));
/// assert_eq!(ClaimPath::from("/https:~1~1app~1roles"), ClaimPath::from("https://app/roles"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPath(Vec<String>);

impl ClaimPath {
    /// A member of a member: `nested(["realm_access", "roles"])` is `{"realm_access":{"roles":…}}`.
    #[must_use]
    pub fn nested<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Self(names.into_iter().map(Into::into).collect())
    }

    /// The names, outermost first; none if it was written as a pointer that is none.
    pub(crate) fn names(&self) -> &[String] {
        &self.0
    }

    pub(crate) fn is_sound(&self) -> bool {
        !self.0.is_empty() && !self.0.iter().any(String::is_empty)
    }
}

impl From<&str> for ClaimPath {
    fn from(text: &str) -> Self {
        match text.strip_prefix('/') {
            None => Self(vec![text.to_owned()]),
            Some(pointer) => {
                let names: Option<_> = pointer.split('/').map(unescape_pointer).collect();
                Self(names.unwrap_or_default())
            }
        }
    }
}

impl From<String> for ClaimPath {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

/// The name alone, if there is one; else as a JSON pointer.
impl std::fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0[..] {
            [name] if !name.starts_with('/') => f.write_str(name),
            names => names
                .iter()
                .try_for_each(|name| write!(f, "/{}", name.replace('~', "~0").replace('/', "~1"))),
        }
    }
}

/// `~1` is a slash and `~0` a tilde (RFC 6901 §3); anything else behind a tilde is a mistake.
fn unescape_pointer(token: &str) -> Option<String> {
    let mut parts = token.split('~');
    let mut name = parts.next()?.to_owned();
    for part in parts {
        let rest = match part.as_bytes().first()? {
            b'0' => '~',
            b'1' => '/',
            _ => return None,
        };
        name.push(rest);
        name.push_str(&part[1..]);
    }
    Some(name)
}

/// A claim that holds a list of names, and how they are written there.
///
/// A claim that is there and written in another way makes the token invalid: that is a change at the
/// authorization server that somebody should hear of, and not a user without groups.
///
/// ```
/// use portcullis::ListClaim;
///
/// let okta = ListClaim::from("groups");                                          // ["a","b"]
/// let keycloak = ListClaim::from("/realm_access/roles");                         // {"realm_access":{"roles":["a"]}}
/// let zitadel = ListClaim::object_keys("urn:zitadel:iam:org:project:roles");     // {"a":{…},"b":{…}}
/// let one = ListClaim::string("repository");                                     // "octo-org/octo-repo"
/// let words = ListClaim::space_separated("permissions");                         // "a b"
/// let commas = ListClaim::comma_separated("memberOf");                           // "a, b"
/// let objects = ListClaim::field("entitlements", "value");                       // [{"value":"a"},{"value":"b"}]
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListClaim {
    pub(crate) path: ClaimPath,
    pub(crate) shape: ListShape,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListShape {
    Strings,
    String,
    SpaceSeparated,
    CommaSeparated,
    ObjectKeys,
    Field(String),
}

impl ListClaim {
    const fn new(path: ClaimPath, shape: ListShape) -> Self {
        Self { path, shape }
    }

    /// An array of strings. The same as `ListClaim::from(path)`.
    #[must_use]
    pub fn strings(path: impl Into<ClaimPath>) -> Self {
        Self::new(path.into(), ListShape::Strings)
    }

    /// One string, which is one name.
    #[must_use]
    pub fn string(path: impl Into<ClaimPath>) -> Self {
        Self::new(path.into(), ListShape::String)
    }

    /// One string, with spaces between the names.
    #[must_use]
    pub fn space_separated(path: impl Into<ClaimPath>) -> Self {
        Self::new(path.into(), ListShape::SpaceSeparated)
    }

    /// One string, with commas between the names; spaces around them do not count.
    #[must_use]
    pub fn comma_separated(path: impl Into<ClaimPath>) -> Self {
        Self::new(path.into(), ListShape::CommaSeparated)
    }

    /// An object, or an array of objects, whose keys are the names. What they hold is not looked at.
    #[must_use]
    pub fn object_keys(path: impl Into<ClaimPath>) -> Self {
        Self::new(path.into(), ListShape::ObjectKeys)
    }

    /// An array of objects, each with the name in this member.
    #[must_use]
    pub fn field(path: impl Into<ClaimPath>, member: impl Into<String>) -> Self {
        Self::new(path.into(), ListShape::Field(member.into()))
    }
}

impl<P: Into<ClaimPath>> From<P> for ListClaim {
    fn from(path: P) -> Self {
        Self::strings(path)
    }
}

/// A value that a claim is compared with: a string, a whole number or a truth value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClaimValue {
    /// A string, compared exactly.
    String(String),
    /// A whole number. A number with a fraction or an exponent is not equal to it, whatever it says.
    Integer(i64),
    /// `true` or `false`.
    Bool(bool),
}

impl From<&str> for ClaimValue {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for ClaimValue {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<i64> for ClaimValue {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<bool> for ClaimValue {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

/// What is asked of a claim, and what a token that does not have it is refused for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClaimRule {
    pub(crate) path: ClaimPath,
    pub(crate) demand: Demand,
    pub(crate) otherwise: RejectionKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    Present,
    Absent,
    /// It is one of these; or an array, and one of these is in it.
    OneOf(Vec<ClaimValue>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leading_slash_makes_a_pointer() {
        let names = |text: &str| ClaimPath::from(text).names().join("|");
        assert_eq!(names("groups"), "groups");
        assert_eq!(names("https://app/roles"), "https://app/roles");
        assert_eq!(names("/a/b"), "a|b");
        assert_eq!(
            names("/resource_access/my.client/roles"),
            "resource_access|my.client|roles"
        );
        assert_eq!(names("/a~1b/c~0d/~01"), "a/b|c~d|~1");
    }

    #[test]
    fn what_names_nothing_is_not_sound() {
        for text in ["", "/", "/a//b", "/a/", "/a~2", "/a~"] {
            assert!(!ClaimPath::from(text).is_sound(), "{text:?}");
        }
        assert!(!ClaimPath::nested(Vec::<String>::new()).is_sound());
    }

    #[test]
    fn paths_are_written_so_that_they_read_the_same() {
        for text in ["groups", "https://app/roles", "/a/b", "/a~1b/c~0d", "/~1a"] {
            let path = ClaimPath::from(text);
            assert_eq!(ClaimPath::from(path.to_string()), path, "{text}");
        }
        let pointer_like = ClaimPath::nested(["/x"]);
        assert_eq!(ClaimPath::from(pointer_like.to_string()), pointer_like);
    }
}
