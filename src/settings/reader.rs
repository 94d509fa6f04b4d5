//! Reads settings one by one, and remembers what is wrong with each.

use std::{collections::HashSet, time::Duration};

use http::{HeaderName, header::AUTHORIZATION};

use super::{ResourceServerConfig, SettingMistake, Value};
use crate::{
    error::without_userinfo, jwks_policy::JwksPolicy, scope::ScopeHierarchy,
    token_cache_policy::TokenCachePolicy,
};

/// The settings that are not a provider's.
const GENERAL: [&str; 11] = [
    "AUTH_PROVIDERS",
    "ADMIN_GROUPS",
    "WRITE_GROUPS",
    "READ_ONLY_GROUPS",
    "SCOPE_HIERARCHY",
    "CLOCK_LEEWAY",
    "TOKEN_HEADER",
    "JWKS_CACHE_TTL",
    "JWKS_MAX_KEYS",
    "TOKEN_CACHE_MAX_ENTRIES",
    "TOKEN_CACHE_MAX_BYTES",
];

pub(super) struct Reader {
    config: ResourceServerConfig,
    mistakes: Vec<SettingMistake>,
}

impl Reader {
    pub(super) fn new(config: ResourceServerConfig) -> Self {
        Self {
            config,
            mistakes: Vec::new(),
        }
    }

    pub(super) fn into_mistakes(self) -> Vec<SettingMistake> {
        self.mistakes
    }

    /// How keys are fetched, of every authorization server.
    pub(super) fn jwks(&mut self) -> JwksPolicy {
        let ttl_cap = self.seconds("JWKS_CACHE_TTL", 3_600, 1, 86_400);
        let max_keys = self.number("JWKS_MAX_KEYS", 100, 1, 1_000);
        JwksPolicy::default()
            .ttl_cap(ttl_cap)
            .max_keys(usize::try_from(max_keys).unwrap_or(usize::MAX))
    }

    /// Settings that nobody reads, and that were probably meant to be read: neither for all providers nor
    /// `of_providers`, and not in the table of a provider that is just not trusted.
    pub(super) fn unread(
        &mut self,
        of_providers: impl Iterator<Item = String>,
        is_not_trusted: impl Fn(&str) -> bool,
    ) {
        let general = GENERAL.into_iter().map(str::to_owned);
        let known: Vec<String> = general.chain(of_providers).collect();
        let meant = |name: &str| known.iter().find(|known| is_one_slip(name, known));
        let mut mistakes = Vec::new();
        for name in self.config.vars.keys() {
            if !known.contains(name)
                && let Some(meant) = meant(name)
            {
                mistakes.push(SettingMistake {
                    setting: name.clone(),
                    // What it says may be a secret.
                    found: Some("there".to_owned()),
                    expected: format!("no such variable, or {meant}"),
                });
            }
        }
        for (name, setting) in &self.config.file {
            let is_of_other = || {
                let (table, _) = setting.path.split_once('.').unwrap_or_default();
                is_not_trusted(table)
            };
            if known.contains(name) || is_of_other() {
                continue;
            }
            mistakes.push(SettingMistake {
                setting: setting.path.clone(),
                found: Some("there".to_owned()),
                expected: match meant(name) {
                    Some(meant) => format!("{}, perhaps", meant.to_ascii_lowercase()),
                    None => "no such setting".to_owned(),
                },
            });
        }
        mistakes.sort_by(|a, b| a.setting.cmp(&b.setting));
        self.mistakes.extend(mistakes);
    }

    pub(super) fn token_header(&mut self, is_needed: bool) -> Option<HeaderName> {
        const NAME: &str = "TOKEN_HEADER";
        const EXPECTED: &str =
            "the name of the header that tokens are in, such as `x-goog-iap-jwt-assertion`";
        let text = if is_needed {
            self.required(NAME, EXPECTED)
        } else {
            self.text(NAME, EXPECTED)
        }?;
        match text.parse() {
            Ok(name) if name != AUTHORIZATION => Some(name),
            _ => {
                self.mistake(NAME, text, EXPECTED);
                None
            }
        }
    }

    pub(super) fn token_cache(&mut self) -> TokenCachePolicy {
        let default = TokenCachePolicy::default();
        let most_entries = TokenCachePolicy::MOST_ENTRIES as u64;
        let least_bytes = TokenCachePolicy::LEAST_BYTES as u64;
        TokenCachePolicy {
            max_entries: self.size(
                "TOKEN_CACHE_MAX_ENTRIES",
                default.max_entries,
                1,
                most_entries,
            ),
            max_bytes: self.size(
                "TOKEN_CACHE_MAX_BYTES",
                default.max_bytes,
                least_bytes,
                1 << 40,
            ),
        }
    }

    pub(super) fn scope_hierarchy(&mut self) -> ScopeHierarchy {
        const NAME: &str = "SCOPE_HIERARCHY";
        const EXPECTED: &str = "scopes with `>` between them, each including the next, such as `admin:system>write:data`";
        let mut hierarchy = ScopeHierarchy::new();
        for line in self.list(NAME, EXPECTED).unwrap_or_default() {
            let scopes: Vec<_> = line.split('>').map(str::trim).collect();
            let mut next = hierarchy.clone();
            for pair in scopes.windows(2) {
                next = next.includes(pair[0], [pair[1]]);
            }
            if scopes.len() < 2 || next.check().is_err() {
                self.mistake(NAME, line, EXPECTED);
            } else {
                hierarchy = next;
            }
        }
        hierarchy
    }

    /// Values, each there and none of them empty; `None` if there is no such setting, or it is not
    /// right.
    pub(super) fn list(&mut self, name: &str, expected: &str) -> Option<Vec<String>> {
        let values = match self.value(name, expected)? {
            Value::Many(values) => values,
            Value::One(text) => text
                .split(',')
                .map(|value| value.trim().to_owned())
                .collect(),
        };
        let is_good = |value: &String| !value.is_empty() && value.trim() == value;
        if values.is_empty() || !values.iter().all(is_good) {
            self.mistake(name, values.join(","), expected);
            return None;
        }
        Some(values)
    }

    pub(super) fn required_list(&mut self, name: &str, expected: &str) -> Option<Vec<String>> {
        self.require(name, expected);
        self.list(name, expected)
    }

    /// As [`list`](Self::list), each of them once and as `is_good` wants it.
    pub(super) fn list_of(
        &mut self,
        name: &str,
        expected: &str,
        is_good: impl Fn(&str) -> bool,
    ) -> Option<Vec<String>> {
        let values = self.list(name, expected)?;
        let distinct: HashSet<_> = values.iter().collect();
        if distinct.len() != values.len() || !values.iter().all(|value| is_good(value)) {
            self.mistake(name, values.join(","), expected);
            return None;
        }
        Some(values)
    }

    /// Names of groups, empty ones left out; `None` if there is no such setting.
    pub(super) fn groups(&mut self, name: &str) -> Option<Vec<String>> {
        let values = match self.value(name, "names of groups, comma-separated")? {
            Value::Many(values) => values,
            Value::One(text) => text.split(',').map(str::to_owned).collect(),
        };
        let names = values.iter().map(|name| name.trim());
        Some(
            names
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect(),
        )
    }

    pub(super) fn boolean(&mut self, name: &str) -> bool {
        match self.one(name, "`true` or `false`").as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => {
                self.mistake(name, other, "`true` or `false`");
                false
            }
        }
    }

    /// A number from a range, or zero.
    fn size(&mut self, name: &str, default: usize, min: u64, max: u64) -> usize {
        let expected = format!("0, or a whole number from {min} to {max}");
        let is_allowed = |number| number == 0 || (min..=max).contains(&number);
        let number = self.number_that(name, &expected, is_allowed);
        usize::try_from(number.unwrap_or(default as u64)).unwrap_or(usize::MAX)
    }

    pub(super) fn seconds(&mut self, name: &str, default: u64, min: u64, max: u64) -> Duration {
        Duration::from_secs(self.number(name, default, min, max))
    }

    fn number(&mut self, name: &str, default: u64, min: u64, max: u64) -> u64 {
        self.number_in(name, min, max).unwrap_or(default)
    }

    pub(super) fn number_in(&mut self, name: &str, min: u64, max: u64) -> Option<u64> {
        let expected = format!("a whole number from {min} to {max}");
        self.number_that(name, &expected, |number| (min..=max).contains(&number))
    }

    fn number_that(
        &mut self,
        name: &str,
        expected: &str,
        is_allowed: impl Fn(u64) -> bool,
    ) -> Option<u64> {
        let text = self.one(name, expected)?;
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits && is_allowed(number) => Some(number),
            _ => {
                self.mistake(name, text, expected);
                None
            }
        }
    }

    pub(super) fn required(&mut self, name: &str, expected: &str) -> Option<String> {
        self.require(name, expected);
        self.text(name, expected)
    }

    /// As [`required`](Self::required), of a value that is shown to nobody.
    #[cfg(feature = "introspection")]
    pub(super) fn required_secret(&mut self, name: &str, expected: &str) -> Option<String> {
        self.require(name, expected);
        let secret = match (self.config.vars.get(name), self.config.file.get(name)) {
            (None, None) => return None,
            (Some(secret), _) => secret.to_str().map(str::to_owned),
            (None, Some(setting)) => match &setting.value {
                Value::One(secret) => Some(secret.clone()),
                Value::Many(_) => None,
            },
        };
        let secret = secret.filter(|secret| !secret.is_empty());
        if secret.is_none() {
            self.mistake(name, "…", expected);
        }
        secret
    }

    fn require(&mut self, name: &str, expected: &str) {
        if !self.is_set(name) {
            let setting = self.path_of(name);
            self.mistakes.push(SettingMistake {
                setting,
                found: None,
                expected: expected.to_owned(),
            });
        }
    }

    pub(super) fn is_set(&self, name: &str) -> bool {
        self.config.vars.contains_key(name) || self.config.file.contains_key(name)
    }

    /// A value that is not empty and has no white space around it, which is never meant.
    pub(super) fn text(&mut self, name: &str, expected: &str) -> Option<String> {
        let text = self.one(name, expected)?;
        if text.is_empty() || text.trim() != text {
            self.mistake(name, text, expected);
            return None;
        }
        Some(text)
    }

    fn one(&mut self, name: &str, expected: &str) -> Option<String> {
        match self.value(name, expected)? {
            Value::One(text) => Some(text),
            Value::Many(values) => {
                self.mistake(name, values.join(","), format!("one value: {expected}"));
                None
            }
        }
    }

    fn value(&mut self, name: &str, expected: &str) -> Option<Value> {
        let Some(text) = self.config.vars.get(name) else {
            return self
                .config
                .file
                .get(name)
                .map(|setting| setting.value.clone());
        };
        match text.clone().into_string() {
            Ok(text) => Some(Value::One(text)),
            Err(other) => {
                self.mistake(name, other.to_string_lossy(), expected);
                None
            }
        }
    }

    pub(super) fn mistake(
        &mut self,
        name: &str,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) {
        let mistake = SettingMistake {
            setting: self.path_of(name),
            found: Some(without_userinfo(&found.into())),
            expected: expected.into(),
        };
        // One that is for all providers is read for each.
        if !self.mistakes.contains(&mistake) {
            self.mistakes.push(mistake);
        }
    }

    /// What a setting says, to be shown.
    pub(super) fn shown(&self, name: &str) -> String {
        match (self.config.vars.get(name), self.config.file.get(name)) {
            (Some(text), _) => text.to_string_lossy().into_owned(),
            (None, Some(setting)) => match &setting.value {
                Value::One(text) => text.clone(),
                Value::Many(values) => values.join(","),
            },
            (None, None) => String::new(),
        }
    }

    /// How the operator calls a setting: as it is written in the file, or as a variable.
    fn path_of(&self, name: &str) -> String {
        match self.config.file.get(name) {
            Some(setting) if !self.config.vars.contains_key(name) => setting.path.clone(),
            _ => name.to_owned(),
        }
    }
}

/// Whether the names differ in one character: added, left out, or another one.
pub(super) fn is_one_slip(a: &str, b: &str) -> bool {
    let same = |(x, y): &(u8, u8)| x == y;
    let front = a.bytes().zip(b.bytes()).take_while(same).count();
    let back = a
        .bytes()
        .rev()
        .zip(b.bytes().rev())
        .take_while(same)
        .count();
    let longer = a.len().max(b.len());
    a.len().abs_diff(b.len()) <= 1 && front + back + 1 >= longer
}
