//! What was found, and how it is shown.

use std::fmt;

use http::{HeaderMap, Response};

use super::walk::date;
use crate::{
    access_token::AccessToken,
    middleware::{Form, JsonRejection, answer},
    rejection::Rejection,
    time::UnixTime,
};

/// What becomes of a token, and why. Made to be printed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// What to look at in the policy, though it is none that is refused.
    pub advice: Vec<String>,
    /// What came of getting each authorization server's keys.
    pub authorization_servers: Vec<ServerReport>,
    /// Each check, in the order in which they are made.
    pub checks: Vec<CheckReport>,
    /// The verified token, or what its client is told.
    pub verdict: Result<AccessToken, Rejection>,
    pub(super) now: UnixTime,
    pub(super) granted: Vec<String>,
    pub(super) has_token: bool,
    pub(super) has_tenants: bool,
}

/// What came of getting the keys of one authorization server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerReport {
    /// Its issuer.
    pub issuer: String,
    /// Where its keys are, or the metadata that says so.
    pub source: String,
    /// Where its keys are, if its metadata says so.
    pub jwks_uri: Option<String>,
    /// How many keys can be used, and how many cannot; or why there are none. Where tokens are
    /// introspected, none are needed.
    pub keys: Result<(usize, usize), String>,
}

/// What came of one check.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CheckReport {
    /// What is checked.
    pub name: &'static str,
    /// `None` if an earlier check failed.
    pub passed: Option<bool>,
    /// What was found, and what to do about it.
    pub detail: String,
}

impl Explanation {
    /// Whether nothing is wrong: the token is let through or, where there is none, the keys of all
    /// authorization servers can be had.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let mut servers = self.authorization_servers.iter();
        self.verdict.is_ok() || (!self.has_token && servers.all(|server| server.keys.is_ok()))
    }

    fn write_checks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nThe token, on {}", date(self.now.as_secs()))?;
        self.checks.iter().try_for_each(|check| {
            let verdict = match check.passed {
                Some(true) => "passed",
                Some(false) => "FAILED",
                None => "not reached",
            };
            let line = format!("  {verdict:<11} {:<18} {}", check.name, check.detail);
            writeln!(f, "{}", line.trim_end())
        })
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Authorization servers")?;
        for server in &self.authorization_servers {
            write!(f, "{server}")?;
        }
        match (self.has_tenants, self.authorization_servers.is_empty()) {
            (true, true) => writeln!(f, "  none but the tenants that the resolver knows")?,
            (true, false) => writeln!(f, "  and the tenants that the resolver knows")?,
            (false, _) => {}
        }
        if !self.advice.is_empty() {
            writeln!(f, "\nAdvice")?;
            for advice in &self.advice {
                writeln!(f, "  {advice}")?;
            }
        }
        if !self.has_token {
            return writeln!(
                f,
                "\nNo token was given: only settings and keys were looked at."
            );
        }
        self.write_checks(f)?;
        match &self.verdict {
            Ok(_) => {
                writeln!(f, "\nIt is let through, unless the route asks for more.")?;
                let mut granted = self.granted.iter();
                granted.try_for_each(|line| writeln!(f, "  {line}"))
            }
            Err(rejection) => write_answers(f, rejection),
        }
    }
}

impl fmt::Display for ServerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {}", self.issuer)?;
        let (source, by) = match &self.jwks_uri {
            Some(jwks_uri) => (jwks_uri, ", by its metadata"),
            None => (&self.source, ""),
        };
        let (usable, others) = match &self.keys {
            Ok((0, 0)) => return writeln!(f, "    no keys: its tokens are introspected"),
            Ok(keys) => *keys,
            Err(why) => return writeln!(f, "    keys at {source}{by}: {why}"),
        };
        let noun = if usable == 1 { "key" } else { "keys" };
        write!(f, "    keys at {source}{by}: {usable} {noun}")?;
        if others > 0 {
            write!(f, ", and {others} that cannot be used")?;
        }
        writeln!(f)
    }
}

/// What a client is told that speaks HTTP, and one that speaks gRPC.
fn write_answers(f: &mut fmt::Formatter<'_>, rejection: &Rejection) -> fmt::Result {
    writeln!(f, "\nThe client is told")?;
    let http: Response<String> = answer(rejection, &JsonRejection, Form::Http);
    writeln!(f, "  HTTP {}", http.status())?;
    write_headers(f, http.headers())?;
    if !http.body().is_empty() {
        writeln!(f, "    {}", http.body())?;
    }
    let grpc: Response<String> = answer(rejection, &JsonRejection, Form::Grpc("application/grpc"));
    writeln!(f, "  gRPC")?;
    write_headers(f, grpc.headers())
}

fn write_headers(f: &mut fmt::Formatter<'_>, headers: &HeaderMap) -> fmt::Result {
    headers.iter().try_for_each(|(name, value)| {
        writeln!(
            f,
            "    {name}: {}",
            String::from_utf8_lossy(value.as_bytes())
        )
    })
}
