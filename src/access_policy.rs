//! Which requests need what: a table by method and path, for gRPC and HTTP alike.

use std::{borrow::Cow, collections::BTreeMap, ptr, sync::Arc};

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
/// The most specific one counts, and it alone, whatever their order: segment by segment, one to the
/// letter, then the longest with letters in front of `*`, then `{name}`, then `*`; at the same path
/// one with a method before one without. Where the path fits and the method does not, the next one
/// that fits both counts; where none does, [`otherwise`](AccessPolicyBuilder::otherwise).
///
/// # What is compared
///
/// The path as the layer sees it: around a router that is nested in another, without what was nested
/// at. The query is not looked at.
///
/// What fits one pattern as it was sent, and another one decoded or without a slash at its end, is
/// refused: a router and what stands behind it may not agree on how to read it. So is, whatever the
/// table says, a path with an empty segment, a segment `.` or `..` (also with a `;` behind), a
/// backslash, a control character, an encoded slash, an escape that is none, is not UTF-8 or was
/// escaped once more, or without a slash at the start. Everything else is compared as it is: in case,
/// and with what stands behind a `;`. Where ids contain encoded slashes, protect the routes by
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
    /// That a token is good, if there is one.
    Optional,
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
        let Some(path) = path.strip_prefix('/') else {
            // `OPTIONS *`, and the target of a CONNECT.
            let is_none = matches!(path, "" | "*");
            return if is_none {
                &self.0.otherwise
            } else {
                &Rule::Deny
            };
        };
        if !is_readable(path) {
            return &Rule::Deny;
        }
        let look_up = |path: &str, decoded| {
            let segments = (!path.is_empty()).then_some(path);
            let found = self.0.root.find(method, segments, decoded);
            found.unwrap_or(&self.0.otherwise)
        };
        let as_sent = look_up(path, false);
        let is_agreed = |path, decoded| ptr::eq(look_up(path, decoded), as_sent);
        let has_escapes = path.contains('%');
        let without_slash = path.strip_suffix('/');
        let are_agreed = (!has_escapes || is_agreed(path, true))
            && without_slash.is_none_or(|path| {
                is_agreed(path, false) && (!has_escapes || is_agreed(path, true))
            });
        if are_agreed { as_sent } else { &Rule::Deny }
    }
}

impl Rule {
    pub(crate) fn check(&self, token: Option<&AccessToken>) -> Result<(), Rejection> {
        match (self, token) {
            (Self::Exempt | Self::Optional, _) => Ok(()),
            (Self::Require(requirement), Some(token)) => requirement.check(token),
            (Self::Deny, Some(_)) => Err(RejectionKind::PolicyDenied.into()),
            (Self::Require(_) | Self::Deny, None) => Err(RejectionKind::TokenMissing.into()),
        }
    }
}

impl Node {
    /// Visits each node once at most, so a path cannot make it long.
    fn find<'t>(
        &'t self,
        method: &Method,
        segments: Option<&str>,
        decoded: bool,
    ) -> Option<&'t Rule> {
        let Some(segments) = segments else {
            return self.here.get(method).or_else(|| {
                let (_, below) = self.rest.last().filter(|(start, _)| start.is_empty())?;
                below.get(method)
            });
        };
        let (segment, further) = first_segment(segments);
        let segment = if decoded {
            percent_decode_str(segment).decode_utf8_lossy()
        } else {
            Cow::Borrowed(segment)
        };
        let within = |node: &'t Self| node.find(method, further, decoded);
        let begun = |is_bare: bool| {
            let mut rest = self.rest.iter();
            rest.find_map(|(start, rules)| {
                let fits = start.is_empty() == is_bare && segment.starts_with(start);
                fits.then(|| rules.get(method)).flatten()
            })
        };
        let any = self.any.as_deref().filter(|_| !segment.is_empty());
        (self.named.get(&*segment).and_then(within))
            .or_else(|| begun(false))
            .or_else(|| any.and_then(within))
            .or_else(|| begun(true))
    }

    /// Where the rules for a pattern are kept.
    fn place(&mut self, segments: Option<&str>) -> Result<&mut ByMethod, &'static str> {
        let Some(segments) = segments else {
            return Ok(&mut self.here);
        };
        let (segment, further) = first_segment(segments);
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

/// The first segment, and what follows it.
fn first_segment(segments: &str) -> (&str, Option<&str>) {
    match segments.split_once('/') {
        Some((segment, further)) => (segment, Some(further)),
        None => (segments, None),
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

/// Whether a path, without the slash at its start, is one that everybody takes apart in the same way.
fn is_readable(path: &str) -> bool {
    let is_escape = |after: &str| {
        let digits = after.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    let segments = path.strip_suffix('/').unwrap_or(path);
    segments.is_empty()
        || segments.split('/').all(|segment| {
            let decoded = percent_decode_str(segment).decode_utf8();
            segment.split('%').skip(1).all(is_escape)
                && decoded.is_ok_and(|decoded| {
                    let name = decoded.split(';').next().unwrap_or_default();
                    !matches!(name, "." | "..")
                        && !decoded.is_empty()
                        && !decoded.contains(['/', '\\'])
                        && !decoded.contains(char::is_control)
                        && !decoded.split('%').skip(1).any(is_escape)
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
    /// token: handlers find none, whether or not one was sent. Audit sinks are not told.
    pub fn exempt(self, pattern: impl Into<String>) -> Self {
        self.rule(pattern.into(), Rule::Exempt)
    }

    /// Requests that fit [`pattern`](AccessPolicy#patterns) need no token; one that is there must be
    /// good, and handlers are told whose it is.
    pub fn optional(self, pattern: impl Into<String>) -> Self {
        self.rule(pattern.into(), Rule::Optional)
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
    /// [`ConfigError::InvalidPattern`] if a pattern is not one, and
    /// [`ConfigError::DuplicatePattern`] if two fit the same paths.
    pub fn build(self) -> Result<AccessPolicy, ConfigError> {
        let mut root = Node::default();
        for (pattern, rule) in self.rules {
            match add(&mut root, &pattern, rule) {
                Ok(true) => {}
                Ok(false) => return Err(ConfigError::DuplicatePattern { found: pattern }),
                Err(problem) => {
                    let found = pattern;
                    return Err(ConfigError::InvalidPattern { found, problem });
                }
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

/// `false` if there is one for the same paths already.
fn add(root: &mut Node, pattern: &str, rule: Rule) -> Result<bool, &'static str> {
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
    Ok(rules.put(method, rule))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
            Rule::Optional | Rule::Require(_) => "otherwise",
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
            "/internal.*",
            "/{service}/Check!",
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
            ("POST", "/internal.Admin/Check", "deny"),
            ("POST", "/other.Admin/Check", "exempt"),
            ("OPTIONS", "*", "otherwise"),
            ("CONNECT", "", "otherwise"),
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
        let policy = table(&[
            "/admin/*",
            "/admin/open!",
            "/admin/a@b!",
            "/admin/{id}/x!",
            "/*!",
        ]);
        for path in [
            "/admin",
            "/admin/",
            // Routers compare what was sent, and other software what it decodes to.
            "/%61dmin/users",
            "/%61%64%6D%69%6e/users",
            "/admin/%6fpen",
            "/admin/a%40b",
            "/admin/open/",
            "/%2561dmin/users",
            "/public/%252e%252e/admin/users",
            "/public/..;/admin/users",
            "/public/.;x=1/admin/users",
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
            // HTTP/2 carries what has no slash at the start, too.
            "public/../admin/users",
            "admin/users",
            "**",
        ] {
            assert_eq!(name(&policy, "GET", path), "deny", "{path}");
        }
        for path in [
            "/admin/open",
            "/admin/%C3%A4/x",
            "/admin/%7Ejoe/x",
            "/admin/a@b",
            "/public/",
            "/public/a%20b",
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
            assert_eq!(
                refused.build().unwrap_err(),
                ConfigError::DuplicatePattern {
                    found: twice[1].to_owned()
                }
            );
        }
    }

    /// How well a pattern fits, the least best; `None` if it does not. One number for each of its
    /// segments, and one for the method.
    fn fit(pattern: &str, method: &str, path: &[String]) -> Option<Vec<usize>> {
        let (of, pattern) = match pattern.split_once(' ') {
            Some((of, pattern)) => (Some(of), pattern),
            None => (None, pattern),
        };
        let mut fit = Vec::new();
        let mut path = path.iter();
        let mut is_rest = false;
        for part in pattern.split('/').skip(1) {
            match (part.strip_suffix('*'), path.next()) {
                (Some(""), _) => {
                    fit.push(1_000);
                    is_rest = true;
                }
                (Some(start), Some(segment)) if segment.starts_with(start) => {
                    fit.push(100 - start.len());
                    is_rest = true;
                }
                (None, Some(segment)) if part.starts_with('{') && !segment.is_empty() => {
                    fit.push(500);
                }
                (None, Some(segment)) if part == segment => fit.push(1),
                _ => return None,
            }
        }
        if path.next().is_some() && !is_rest {
            return None;
        }
        fit.push(match (of, method) {
            (Some(of), method) if of == method => 0,
            (Some("GET"), "HEAD") => 1,
            (None, _) => 2,
            _ => return None,
        });
        Some(fit)
    }

    /// The best of all patterns for a path, by looking at each.
    fn best(patterns: &[String], method: &str, path: &[String]) -> Option<usize> {
        let fits = patterns.iter().enumerate();
        let fits = fits.filter_map(|(n, pattern)| Some((fit(pattern, method, path)?, n)));
        fits.min().map(|(_, n)| n)
    }

    fn pattern() -> impl Strategy<Value = String> {
        let method = prop::sample::select(vec!["", "", "GET ", "POST "]);
        let parts = prop::collection::vec(prop::sample::select(vec!["a", "ab", "b", "{x}"]), 0..3);
        let last = prop::sample::select(vec!["/a", "/b", "/{x}", "/a*", "/ab*", "/*"]);
        (method, parts, last).prop_map(|(method, parts, last)| {
            let parts: String = parts.iter().map(|part| format!("/{part}")).collect();
            format!("{method}{parts}{last}")
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_096))]

        /// The tree finds what looking at every pattern finds, and refuses what fits another one
        /// decoded, or without its last slash.
        #[test]
        fn the_tree_agrees_with_a_look_at_every_pattern(
            mut patterns in prop::collection::vec(pattern(), 0..8),
            method in prop::sample::select(vec!["GET", "HEAD", "POST", "PUT"]),
            path in prop::collection::vec(
                prop::sample::select(vec!["a", "b", "ab", "abc", "%61", "a%62", "c%63"]), 1..5,
            ),
            ends_in_slash: bool,
        ) {
            // What fits the same requests can be there once.
            let mut seen = std::collections::HashSet::new();
            patterns.retain(|pattern| seen.insert(pattern.clone()));
            let builder = AccessPolicy::builder().otherwise(Requirement::token());
            let policy = patterns.iter().enumerate().fold(builder, |builder, (n, pattern)| {
                let scope = Requirement::all_scopes([format!("rule-{n}")]).unwrap();
                builder.require(pattern.clone(), scope)
            });
            let policy = policy.build().unwrap();

            let sent: Vec<String> = path.iter().map(|segment| (*segment).to_owned()).collect();
            let decode = |segment: &String| percent_decode_str(segment).decode_utf8_lossy().into_owned();
            let decoded: Vec<String> = sent.iter().map(decode).collect();
            let mut readings = vec![sent.clone(), decoded.clone()];
            if ends_in_slash {
                for mut reading in [sent.clone(), decoded] {
                    reading.push(String::new());
                    readings.push(reading);
                }
            }
            let found: std::collections::HashSet<_> = readings
                .iter()
                .map(|reading| best(&patterns, method, reading))
                .collect();

            let slash = if ends_in_slash { "/" } else { "" };
            let path = format!("/{}{slash}", sent.join("/"));
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let rule = policy.rule(&method, &path);
            let is = |n: usize| format!("{rule:?}").contains(&format!("\"rule-{n}\""));
            match (found.len(), found.iter().next().unwrap()) {
                (1, Some(n)) => prop_assert!(is(*n), "{path}: {rule:?}, not {n}"),
                (1, None) => prop_assert!(
                    ptr::eq(rule, &raw const policy.0.otherwise), "{path}: {rule:?}"
                ),
                _ => prop_assert!(matches!(rule, Rule::Deny), "{path}: {rule:?}, not one of {found:?}"),
            }
        }
    }
}
