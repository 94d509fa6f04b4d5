//! Which requests need what: a table by method and path, for gRPC and HTTP alike.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use http::Method;
use percent_encoding::percent_decode_str;

use crate::{
    access_token::AccessToken,
    error::ConfigError,
    rejection::{Rejection, RejectionKind},
    requirement::Requirement,
};

/// Which requests need what: a table from method and path to what a token needs.
///
/// Given to [`AuthenticateLayer::policy`](crate::AuthenticateLayer::policy). One table can guard gRPC
/// methods and HTTP routes.
///
/// ```
/// use portcullis::{AccessPolicy, Requirement, Role};
///
/// let policy = AccessPolicy::builder()
///     // A gRPC method, a whole service, and every service of a package.
///     .require("/orders.v1.Orders/Delete", Requirement::role(Role::Admin))
///     .require("/orders.v1.Orders/*", Requirement::all_scopes(["orders:read"])?)
///     .require("/billing.*", Requirement::all_scopes(["billing"])?)
///     .exempt_grpc_health()
///     // An HTTP route, for one method, and a tree of them, for all.
///     .require("GET /users/{id}/balance", Requirement::all_scopes(["balance:read"])?)
///     .require("/admin/*", Requirement::role(Role::Admin))
///     // Everything else; without this line nobody may do anything else.
///     .otherwise(Requirement::token())
///     .build()?;
/// # Ok::<(), portcullis::ConfigError>(())
/// ```
///
/// # Patterns
///
/// A pattern is a path, with a method and a space in front where it is for that method alone; one
/// for `GET` is for `HEAD` as well. A gRPC method is a path without one: `/package.Service/Method`.
///
/// - A segment is compared to the letter.
/// - `{name}` is any one segment.
/// - `*` at the end is whatever follows, of that segment and beyond: `/orders.v1.*` is every service
///   whose name starts so, `/admin/*` is everything below `/admin`, and `/admin` itself.
///
/// The most specific one counts, whatever their order: segment by segment, letters before `{name}`
/// before `*`, and a longer text in front of `*` before a shorter; at the same path one with a method
/// before one without. Where the path fits and the method does not, the next one that fits both
/// counts; where none does, [`otherwise`](AccessPolicyBuilder::otherwise).
///
/// # What is compared
///
/// The path as the layer sees it: around a router that is nested in another, without what was nested
/// at. Percent-encoded characters are decoded first, and one slash at the end makes no difference.
/// The query is not looked at.
///
/// A path that other software may read as another path is refused, whatever the table says: with an
/// empty segment, a segment `.` or `..`, a backslash, a control character, an encoded slash, or an escape that is none or is not
/// UTF-8. Where ids contain encoded slashes, protect the routes by
/// [`RequireLayer`](crate::RequireLayer) instead.
#[derive(Clone, Debug)]
#[must_use]
pub struct AccessPolicy(Arc<Table>);

#[derive(Debug)]
struct Table {
    root: Node,
    otherwise: Rule,
}

/// What is asked of a request.
#[derive(Clone, Debug)]
pub(crate) enum Rule {
    /// Nothing, not even a look at its token.
    Exempt,
    Require(Requirement),
    /// Nobody may do it.
    Deny,
}

/// What is known of the paths that begin in one way.
#[derive(Debug, Default)]
struct Node {
    /// By the next segment.
    named: BTreeMap<String, Self>,
    /// Whatever the next segment.
    any: Option<Box<Self>>,
    /// By how the next segment begins; the longest first.
    rest: Vec<(String, ByMethod)>,
    /// Where the path ends.
    here: ByMethod,
}

#[derive(Debug, Default)]
struct ByMethod {
    of: Vec<(Method, Rule)>,
    others: Option<Rule>,
}

impl AccessPolicy {
    /// Starts an empty table, by which nobody may do anything.
    pub fn builder() -> AccessPolicyBuilder {
        AccessPolicyBuilder {
            rules: Vec::new(),
            otherwise: Rule::Deny,
        }
    }

    /// What the layer comes to for a request with this method and path: `token` is its verified
    /// token, if it has one. For tests of a table.
    ///
    /// # Errors
    ///
    /// [`RejectionKind::TokenMissing`], [`RejectionKind::ScopeInsufficient`],
    /// [`RejectionKind::RoleInsufficient`] or [`RejectionKind::PolicyDenied`].
    pub fn check(
        &self,
        method: &Method,
        path: &str,
        token: Option<&AccessToken>,
    ) -> Result<(), Rejection> {
        self.rule(method, path).check(token)
    }

    /// Whether requests with this method and path are let through unseen.
    #[must_use]
    pub fn exempts(&self, method: &Method, path: &str) -> bool {
        matches!(self.rule(method, path), Rule::Exempt)
    }

    pub(crate) fn rule(&self, method: &Method, path: &str) -> &Rule {
        if !is_unambiguous(path) {
            return &Rule::Deny;
        }
        let path = path.strip_prefix('/').unwrap_or(path);
        let path = path.strip_suffix('/').unwrap_or(path);
        let segments = (!path.is_empty()).then_some(path);
        let found = self.0.root.find(method, segments);
        found.unwrap_or(&self.0.otherwise)
    }
}

impl Rule {
    pub(crate) fn check(&self, token: Option<&AccessToken>) -> Result<(), Rejection> {
        match (self, token) {
            (Self::Exempt, _) => Ok(()),
            (Self::Require(requirement), Some(token)) => requirement.check(token),
            (Self::Deny, Some(token)) => {
                Err(Rejection::from(RejectionKind::PolicyDenied).with_subject(token.subject()))
            }
            (Self::Require(_) | Self::Deny, None) => Err(RejectionKind::TokenMissing.into()),
        }
    }
}

impl Node {
    /// Visits each node once at most, so a path cannot make it long.
    fn find(&self, method: &Method, segments: Option<&str>) -> Option<&Rule> {
        let Some(segments) = segments else {
            return self.here.get(method).or_else(|| {
                let (_, below) = self.rest.last().filter(|(start, _)| start.is_empty())?;
                below.get(method)
            });
        };
        let (segment, further) = match segments.split_once('/') {
            Some((segment, further)) => (segment, Some(further)),
            None => (segments, None),
        };
        let segment: Cow<'_, str> = percent_decode_str(segment).decode_utf8_lossy();
        let named = self.named.get(&*segment);
        let nodes = [named, self.any.as_deref()].into_iter().flatten();
        let mut found = nodes.filter_map(|node| node.find(method, further));
        found.next().or_else(|| {
            let begun = self.rest.iter();
            begun
                .filter(|(start, _)| segment.starts_with(start))
                .find_map(|(_, rules)| rules.get(method))
        })
    }

    /// Where the rules for a pattern are kept.
    fn place(&mut self, segments: Option<&str>) -> Result<&mut ByMethod, &'static str> {
        let Some(segments) = segments else {
            return Ok(&mut self.here);
        };
        let (segment, further) = match segments.split_once('/') {
            Some((segment, further)) => (segment, Some(further)),
            None => (segments, None),
        };
        if let (Some(start), None) = (segment.strip_suffix('*'), further) {
            check_segment(start)?;
            let place = self.rest.iter().position(|(other, _)| other == start);
            let place = place.unwrap_or_else(|| {
                let longer = |(other, _): &(String, _)| other.len() > start.len();
                let place = self.rest.partition_point(longer);
                self.rest
                    .insert(place, (start.to_owned(), ByMethod::default()));
                place
            });
            let (_, rules) = self.rest.get_mut(place).ok_or("is not a pattern")?;
            return Ok(rules);
        }
        let name = segment
            .strip_prefix('{')
            .and_then(|name| name.strip_suffix('}'));
        let node = if let Some(name) = name {
            if name.is_empty() || !name.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric()) {
                return Err("has a parameter that is not of the form {name}; `*` is the rest");
            }
            &mut **self.any.get_or_insert_default()
        } else if segment.is_empty() {
            return Err("has an empty segment, or a slash at the end");
        } else {
            check_segment(segment)?;
            self.named.entry(segment.to_owned()).or_default()
        };
        node.place(further)
    }
}

/// A segment, or its start, that is compared to the letter.
fn check_segment(text: &str) -> Result<(), &'static str> {
    if text == "." || text == ".." {
        Err("has a segment that is never let through")
    } else if text.starts_with(':') || text.contains(['{', '}']) {
        Err("has a parameter that is not of the form {name}")
    } else if text.contains('*') {
        Err("has a `*` that is not at the end")
    } else if text.contains(['%', '?', '#', '\\', ' ']) || text.contains(char::is_control) {
        Err("has characters that no decoded path segment has")
    } else {
        Ok(())
    }
}

impl ByMethod {
    fn get(&self, method: &Method) -> Option<&Rule> {
        let of = |method| {
            let found = self.of.iter().find(|(other, _)| other == method)?;
            Some(&found.1)
        };
        of(method)
            .or_else(|| of(&Method::GET).filter(|_| method == Method::HEAD))
            .or(self.others.as_ref())
    }

    /// `false` if there is one already.
    fn put(&mut self, method: Option<Method>, rule: Rule) -> bool {
        match method {
            None if self.others.is_none() => self.others = Some(rule),
            Some(method) if self.of.iter().all(|(other, _)| *other != method) => {
                self.of.push((method, rule));
            }
            _ => return false,
        }
        true
    }
}

/// Whether everybody reads this path in the same way.
fn is_unambiguous(path: &str) -> bool {
    let Some(segments) = path.strip_prefix('/') else {
        // `OPTIONS *`, or the target of a CONNECT.
        return true;
    };
    let segments = segments.strip_suffix('/').unwrap_or(segments);
    segments.is_empty()
        || segments.split('/').all(|segment| {
            let mut escapes = segment.split('%').skip(1);
            let are_escapes = escapes.all(|escape| {
                let digits = escape.as_bytes().get(..2);
                digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            });
            are_escapes
                && percent_decode_str(segment)
                    .decode_utf8()
                    .is_ok_and(|segment| {
                        !matches!(&*segment, "" | "." | "..")
                            && !segment.contains(['/', '\\'])
                            && !segment.contains(char::is_control)
                    })
        })
}

/// Puts an [`AccessPolicy`] together.
#[derive(Clone, Debug)]
#[must_use]
pub struct AccessPolicyBuilder {
    rules: Vec<(String, Rule)>,
    otherwise: Rule,
}

impl AccessPolicyBuilder {
    /// Requests that fit [`pattern`](AccessPolicy#patterns) need this of their token.
    pub fn require(self, pattern: impl Into<String>, requirement: Requirement) -> Self {
        self.rule(pattern.into(), Rule::Require(requirement))
    }

    /// Requests that fit [`pattern`](AccessPolicy#patterns) are let through without a look at their
    /// token: handlers find none, whether or not one was sent.
    pub fn exempt(self, pattern: impl Into<String>) -> Self {
        self.rule(pattern.into(), Rule::Exempt)
    }

    /// Exempts the health service of gRPC, `grpc.health.v1.Health`.
    pub fn exempt_grpc_health(self) -> Self {
        self.exempt("/grpc.health.v1.Health/*")
    }

    /// Exempts the reflection service of gRPC, `grpc.reflection.v1.ServerReflection` and `v1alpha`:
    /// anybody may then list the services and see their messages.
    pub fn exempt_grpc_reflection(self) -> Self {
        self.exempt("/grpc.reflection.v1.ServerReflection/*")
            .exempt("/grpc.reflection.v1alpha.ServerReflection/*")
    }

    /// Nobody may make requests that fit [`pattern`](AccessPolicy#patterns).
    pub fn deny(self, pattern: impl Into<String>) -> Self {
        self.rule(pattern.into(), Rule::Deny)
    }

    /// What requests need that fit no pattern. Default: nobody may make them.
    pub fn otherwise(mut self, requirement: Requirement) -> Self {
        self.otherwise = Rule::Require(requirement);
        self
    }

    /// The table.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidPattern`] if a pattern is not one, or is there twice.
    pub fn build(self) -> Result<AccessPolicy, ConfigError> {
        let mut root = Node::default();
        for (pattern, rule) in self.rules {
            if let Err(problem) = add(&mut root, &pattern, rule) {
                return Err(ConfigError::InvalidPattern {
                    found: pattern,
                    problem,
                });
            }
        }
        Ok(AccessPolicy(Arc::new(Table {
            root,
            otherwise: self.otherwise,
        })))
    }

    fn rule(mut self, pattern: String, rule: Rule) -> Self {
        self.rules.push((pattern, rule));
        self
    }
}

fn add(root: &mut Node, pattern: &str, rule: Rule) -> Result<(), &'static str> {
    let (method, path) = match pattern.split_once(' ') {
        None => (None, pattern),
        Some((method, path)) => {
            let is_method = !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase());
            let method = Method::from_bytes(method.as_bytes());
            let method = method.ok().filter(|_| is_method);
            (
                Some(method.ok_or("has no method in front of its space")?),
                path,
            )
        }
    };
    let path = path.strip_prefix('/').ok_or("has no slash at the start")?;
    let rules = root.place((!path.is_empty()).then_some(path))?;
    if rules.put(method, rule) {
        Ok(())
    } else {
        Err("is there twice")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table whose rules can be told apart: each pattern that ends in `!` is exempt.
    fn table(patterns: &[&str]) -> AccessPolicy {
        let builder = AccessPolicy::builder().otherwise(Requirement::token());
        let builder = patterns.iter().fold(builder, |builder, pattern| {
            match pattern.strip_suffix('!') {
                Some(pattern) => builder.exempt(pattern),
                None => builder.deny(*pattern),
            }
        });
        builder.build().unwrap()
    }

    fn name(policy: &AccessPolicy, method: &str, path: &str) -> &'static str {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        match policy.rule(&method, path) {
            Rule::Exempt => "exempt",
            Rule::Deny => "deny",
            Rule::Require(_) => "otherwise",
        }
    }

    #[test]
    fn the_most_specific_pattern_counts_in_any_order() {
        let mut patterns = [
            "/a.B/Open!",
            "/a.B/*",
            "/a.*!",
            "/users/{id}/balance!",
            "/users/me/balance",
            "/users/*",
            "GET /users/{id}!",
            "/",
        ];
        let rows = [
            ("POST", "/a.B/Open", "exempt"),
            ("POST", "/a.B/Other", "deny"),
            ("POST", "/a.B/Open/further", "deny"),
            ("POST", "/a.C/Other", "exempt"),
            ("POST", "/a", "otherwise"),
            ("POST", "/aB/Open", "otherwise"),
            ("GET", "/users/7/balance", "exempt"),
            ("GET", "/users/me/balance", "deny"),
            ("GET", "/users/7/balance/x", "deny"),
            ("GET", "/users", "deny"),
            ("GET", "/users/7", "exempt"),
            ("HEAD", "/users/7", "exempt"),
            ("POST", "/users/7", "deny"),
            ("GET", "/usersx", "otherwise"),
            ("GET", "/", "deny"),
            ("GET", "/other", "otherwise"),
            ("OPTIONS", "*", "otherwise"),
        ];
        for _ in 0..patterns.len() {
            patterns.rotate_left(1);
            let policy = table(&patterns);
            for (method, path, expected) in rows {
                assert_eq!(name(&policy, method, path), expected, "{method} {path}");
            }
        }
    }

    #[test]
    fn a_path_cannot_be_written_so_that_it_escapes_its_pattern() {
        let policy = table(&["/admin/*", "/admin/open!", "GET /admin/{id}/x!"]);
        for path in [
            "/admin",
            "/admin/",
            "/%61dmin/users",
            "/%61%64%6D%69%6e/users",
            "//admin/users",
            "/open/../admin/users",
            "/open/%2e%2E/admin/users",
            "/./admin/users",
            "/admin%2Fusers",
            "/admin%2fusers",
            "/admin%5Cusers",
            "/admin//open",
            "/admin/open/..",
            "/admin/open/%2e",
            "/admin/a%2Fb/x",
            "/admin/%00/x",
            "/admin/%ff/x",
            "/admin/%zz/x",
            "/admin/%/x",
            "/admin/%e/x",
        ] {
            assert_eq!(name(&policy, "GET", path), "deny", "{path}");
        }
        for path in [
            "/admin/open",
            "/admin/open/",
            "/admin/%6fpen",
            "/admin/%C3%A4/x",
        ] {
            assert_eq!(name(&policy, "GET", path), "exempt", "{path}");
        }
    }

    #[test]
    fn without_rules_nobody_may_do_anything() {
        let policy = AccessPolicy::builder().build().unwrap();
        for path in ["/", "/a", "/a.B/C", "*", ""] {
            assert_eq!(name(&policy, "POST", path), "deny", "{path}");
        }
    }

    #[test]
    fn grpc_health_and_reflection_are_exempt_only_when_asked() {
        let none = AccessPolicy::builder().otherwise(Requirement::token());
        let all = none.clone().exempt_grpc_health().exempt_grpc_reflection();
        let (none, all) = (none.build().unwrap(), all.build().unwrap());
        for path in [
            "/grpc.health.v1.Health/Check",
            "/grpc.health.v1.Health/Watch",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        ] {
            assert!(all.exempts(&Method::POST, path), "{path}");
            assert!(!none.exempts(&Method::POST, path), "{path}");
        }
        assert!(!all.exempts(&Method::POST, "/grpc.health.v1.HealthX/Check"));
    }

    #[test]
    fn patterns_that_would_never_do_what_they_say_are_refused() {
        for pattern in [
            "", "a", "a.B/C", "get /a", " /a", "GET  /a", "GET", "/a/", "//a", "/a//b", "/*/a",
            "/a*b", "/{*rest}", "/{}", "/{id", "/a{id}", "/:id", "/a/../b", "/a?x", "/a%20b",
        ] {
            let refused = AccessPolicy::builder().deny(pattern).build();
            assert!(
                matches!(&refused, Err(ConfigError::InvalidPattern { found, .. }) if found == pattern),
                "{pattern:?}: {refused:?}"
            );
        }
        for twice in [
            ["/a", "/a"],
            ["/{a}", "/{b}"],
            ["/a*", "/a*"],
            ["GET /a", "GET /a"],
        ] {
            let refused = AccessPolicy::builder().deny(twice[0]).exempt(twice[1]);
            assert!(refused.build().is_err(), "{twice:?}");
        }
    }
}
