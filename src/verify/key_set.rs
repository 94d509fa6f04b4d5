//! A JWK Set (RFC 7517 §5) made ready to verify with: each key parsed once, when the set arrives.

use std::{collections::BTreeSet, sync::Arc};

use base64_simd::URL_SAFE_NO_PAD;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json, value::RawValue};

use crate::{
    algorithm::Algorithm,
    authorization_server::AuthorizationServer,
    key_source::is_object,
    signature::{PublicKey, Verifier},
};

/// The keys of one authorization server, parsed and ready to use.
///
/// ```
/// use portcullis::{AuthorizationServer, verify::KeySet};
///
/// let server = AuthorizationServer::okta_custom("company.okta.com", "default").audience("api");
/// let keys = KeySet::from_json(br#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#, &server)?;
/// assert_eq!((keys.len(), keys.left_out()), (0, 1));
/// # Ok::<(), portcullis::verify::InvalidKeySet>(())
/// ```
#[derive(Default)]
pub struct KeySet {
    /// Sorted, so that the keys of one `kid` stand together.
    keys: Vec<Arc<VerificationKey>>,
    len: usize,
    left_out: usize,
}

/// One key, for one algorithm.
pub(crate) struct VerificationKey {
    kid: Option<String>,
    /// Whose tokens it may sign, where the set says so.
    issuer: Option<String>,
    algorithm: Algorithm,
    /// The key's numbers, to tell whether it is the same key.
    material: Material,
    verifier: Verifier,
}

/// A key's numbers.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Material {
    Rsa { n: Box<[u8]>, e: Box<[u8]> },
    Ec { x: Box<[u8]>, y: Box<[u8]> },
    Ed25519 { x: Box<[u8]> },
}

impl From<PublicKey<'_>> for Material {
    fn from(key: PublicKey<'_>) -> Self {
        match key {
            PublicKey::Rsa { n, e } => Self::Rsa {
                n: n.into(),
                e: e.into(),
            },
            PublicKey::Ec { x, y } => Self::Ec {
                x: x.into(),
                y: y.into(),
            },
            PublicKey::Ed25519 { x } => Self::Ed25519 { x: x.into() },
        }
    }
}

/// What a token's `kid` and algorithm lead to.
pub(crate) enum Selection<'k> {
    Key(&'k Arc<VerificationKey>),
    /// No key of this id; or, without an id, no key that fits.
    None,
    /// There are keys of this id, none of them for this algorithm.
    OtherAlgorithm,
    /// More than one key fits, and a guess is not good enough.
    Ambiguous,
}

/// The text is not a JWK Set: not JSON, or without an array `keys`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a JSON Web Key Set")]
pub struct InvalidKeySet(());

impl KeySet {
    /// Reads a JWK Set as this authorization server would publish it.
    ///
    /// Keys that cannot be used are left out and counted, and never spoil the others: malformed or
    /// off their curve, RSA below 2048 bits, symmetric or with private members, for encryption
    /// (`use`, `key_ops`), of a type or for an algorithm that is not on the server's list, and
    /// those beyond the [most that are kept](crate::JwksPolicy::max_keys). A key that is listed
    /// twice counts once.
    ///
    /// # Errors
    ///
    /// [`InvalidKeySet`] if it is not a JSON object with an array `keys`.
    pub fn from_json(json: &[u8], server: &AuthorizationServer) -> Result<Self, InvalidKeySet> {
        #[derive(Deserialize)]
        struct Jwks<'a> {
            #[serde(borrow)]
            keys: Vec<&'a RawValue>,
        }

        if !is_object(json) {
            return Err(InvalidKeySet(()));
        }
        let Jwks { keys: jwks } = serde_json::from_slice(json).map_err(|_| InvalidKeySet(()))?;
        let mut set = Self::default();
        for jwk in &jwks {
            let keys = if set.len < server.jwks.max_keys {
                usable_keys(jwk, &server.algorithms)
            } else {
                Vec::new()
            };
            set.left_out += usize::from(keys.is_empty());
            let held = set.keys.len();
            for key in keys {
                if !set.keys.iter().any(|k| k.identity() == key.identity()) {
                    set.keys.push(Arc::new(key));
                }
            }
            set.len += usize::from(set.keys.len() > held);
        }
        set.keys.sort_by(|a, b| a.identity().cmp(&b.identity()));
        Ok(set)
    }

    /// How many keys can be used.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether no key can be used.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many keys were left out because they cannot be used, or are too many.
    #[must_use]
    pub const fn left_out(&self) -> usize {
        self.left_out
    }

    /// The ids of the keys, sorted, each once; keys without an id do not show.
    pub fn kids(&self) -> impl Iterator<Item = &str> {
        let kids: BTreeSet<_> = self
            .keys
            .iter()
            .filter_map(|key| key.kid.as_deref())
            .collect();
        kids.into_iter()
    }

    /// Whether there is a key of this id.
    #[must_use]
    pub fn contains(&self, kid: &str) -> bool {
        !self.of_kid(kid).is_empty()
    }

    /// Every condition on which a key is chosen: its id, if the token names one, and its
    /// algorithm. Type, `use`, `key_ops` and strength were looked at when the set was read.
    pub(crate) fn select(&self, kid: Option<&str>, algorithm: Algorithm) -> Selection<'_> {
        let of_kid = kid.map_or(&self.keys[..], |kid| self.of_kid(kid));
        let mut fitting = of_kid.iter().filter(|key| key.algorithm == algorithm);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Selection::Key(key),
            (Some(_), Some(_)) => Selection::Ambiguous,
            (None, _) if kid.is_some() && !of_kid.is_empty() => Selection::OtherAlgorithm,
            (None, _) => Selection::None,
        }
    }

    /// Whether a token that `key` verified, and that names its key or not, would be verified by the
    /// same key now.
    pub(crate) fn still_selects(&self, key: &VerificationKey, names_key: bool) -> bool {
        let kid = key.kid.as_deref().filter(|_| names_key);
        matches!(
            self.select(kid, key.algorithm),
            Selection::Key(selected) if selected.identity() == key.identity()
        )
    }

    /// Whether this very key is one of them.
    pub(crate) fn holds(&self, key: &VerificationKey) -> bool {
        self.keys
            .iter()
            .any(|held| held.identity() == key.identity())
    }

    /// Takes over the keys of `before` that are the same, so that whoever holds on to them holds on
    /// to no others.
    pub(crate) fn take_over(&mut self, before: &Self) {
        for key in &mut self.keys {
            let same = before
                .keys
                .iter()
                .find(|other| other.identity() == key.identity());
            if let Some(same) = same {
                *key = Arc::clone(same);
            }
        }
    }

    /// Whether both sets verify the same tokens.
    pub(crate) fn same_keys(&self, other: &Self) -> bool {
        self.keys
            .iter()
            .map(|key| key.identity())
            .eq(other.keys.iter().map(|key| key.identity()))
    }

    /// Whether this id stands for the same key in both.
    pub(crate) fn same_key(&self, other: &Self, kid: &str) -> bool {
        let (ours, theirs) = (self.of_kid(kid), other.of_kid(kid));
        (ours.iter().map(|key| key.identity())).eq(theirs.iter().map(|key| key.identity()))
    }

    /// The keys, each as a JWK. Read again for the same authorization server, they are the same.
    pub(crate) fn to_jwks(&self) -> Vec<Value> {
        let mut jwks: Vec<(&VerificationKey, bool)> = Vec::new();
        for key in &self.keys {
            let same = |(other, _): &&mut (&VerificationKey, bool)| {
                (&other.kid, &other.issuer, &other.material)
                    == (&key.kid, &key.issuer, &key.material)
            };
            match jwks.iter_mut().find(same) {
                // It names no algorithm, or it would not have several.
                Some((_, has_several)) => *has_several = true,
                None => jwks.push((key, false)),
            }
        }
        let jwks = jwks.into_iter();
        jwks.map(|(key, has_several)| key.to_jwk(!has_several))
            .collect()
    }

    fn of_kid(&self, kid: &str) -> &[Arc<VerificationKey>] {
        let from = self
            .keys
            .partition_point(|key| key.kid.as_deref() < Some(kid));
        let rest = &self.keys[from..];
        &rest[..rest.partition_point(|key| key.kid.as_deref() == Some(kid))]
    }
}

impl std::fmt::Debug for KeySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeySet")
            .field("len", &self.len)
            .field("left_out", &self.left_out)
            .finish_non_exhaustive()
    }
}

impl VerificationKey {
    pub(crate) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.verifier.verify(message, signature)
    }

    pub(crate) fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    fn to_jwk(&self, with_algorithm: bool) -> Value {
        let text = |number: &[u8]| URL_SAFE_NO_PAD.encode_to_string(number);
        let mut jwk = match &self.material {
            Material::Rsa { n, e } => json!({ "kty": "RSA", "n": text(n), "e": text(e) }),
            Material::Ec { x, y } => {
                let crv = curve(self.algorithm);
                json!({ "kty": "EC", "crv": crv, "x": text(x), "y": text(y) })
            }
            Material::Ed25519 { x } => {
                json!({ "kty": "OKP", "crv": curve(self.algorithm), "x": text(x) })
            }
        };
        let algorithm = with_algorithm.then(|| self.algorithm.as_str());
        for (name, value) in [
            ("kid", self.kid.as_deref()),
            ("issuer", self.issuer.as_deref()),
            ("alg", algorithm),
        ] {
            if let Some(value) = value {
                jwk[name] = value.into();
            }
        }
        jwk
    }

    /// Ordered by the id first.
    fn identity(&self) -> (Option<&str>, &'static str, &Material, Option<&str>) {
        let (kid, issuer) = (self.kid.as_deref(), self.issuer.as_deref());
        (kid, self.algorithm.as_str(), &self.material, issuer)
    }
}

/// A JWK, as far as it matters here.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    /// Of Microsoft's keys.
    issuer: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    // Members of private and symmetric keys (RFC 7518 §6, RFC 9964): a key that shows one is
    // known to more than its owner.
    d: Option<IgnoredAny>,
    p: Option<IgnoredAny>,
    q: Option<IgnoredAny>,
    dp: Option<IgnoredAny>,
    dq: Option<IgnoredAny>,
    qi: Option<IgnoredAny>,
    oth: Option<IgnoredAny>,
    k: Option<IgnoredAny>,
    #[serde(rename = "priv")]
    private: Option<IgnoredAny>,
}

impl Jwk {
    fn is_private(&self) -> bool {
        [
            &self.d,
            &self.p,
            &self.q,
            &self.dp,
            &self.dq,
            &self.qi,
            &self.oth,
            &self.k,
            &self.private,
        ]
        .into_iter()
        .any(Option::is_some)
    }

    fn is_for_signatures(&self) -> bool {
        self.usage.as_deref().is_none_or(|usage| usage == "sig")
            && self
                .key_ops
                .as_ref()
                .is_none_or(|ops| ops.iter().any(|op| op == "verify"))
    }

    /// Whether the key's curve, or lack of one, is that of the algorithm.
    fn fits(&self, algorithm: Algorithm) -> bool {
        let crv = curve(algorithm);
        let kty = match crv {
            None => "RSA",
            Some("Ed25519") => "OKP",
            Some(_) => "EC",
        };
        self.kty == kty
            && (crv.is_none() || self.crv.as_deref() == crv)
            && self
                .alg
                .as_deref()
                .is_none_or(|alg| alg.parse() == Ok(algorithm))
    }
}

/// The curve that keys of an algorithm are on.
const fn curve(algorithm: Algorithm) -> Option<&'static str> {
    match algorithm {
        Algorithm::Rs256
        | Algorithm::Rs384
        | Algorithm::Rs512
        | Algorithm::Ps256
        | Algorithm::Ps384
        | Algorithm::Ps512 => None,
        Algorithm::Es256 => Some("P-256"),
        Algorithm::Es384 => Some("P-384"),
        Algorithm::Es512 => Some("P-521"),
        Algorithm::EdDsa => Some("Ed25519"),
    }
}

/// The key, once for each of `algorithms` that it may be used with.
fn usable_keys(jwk: &RawValue, algorithms: &[Algorithm]) -> Vec<VerificationKey> {
    if !is_object(jwk.get().as_bytes()) {
        return Vec::new();
    }
    let Ok(jwk) = serde_json::from_str::<Jwk>(jwk.get()) else {
        return Vec::new();
    };
    if jwk.is_private() || !jwk.is_for_signatures() {
        return Vec::new();
    }
    let number = |member: &Option<String>| {
        member
            .as_ref()
            .and_then(|text| URL_SAFE_NO_PAD.decode_to_vec(text).ok())
            .unwrap_or_default()
    };
    let (n, e, x, y) = (
        number(&jwk.n),
        number(&jwk.e),
        number(&jwk.x),
        number(&jwk.y),
    );
    let (n, e) = (without_leading_zeros(&n), without_leading_zeros(&e));
    let key = match jwk.kty.as_str() {
        "RSA" => PublicKey::Rsa { n, e },
        "EC" => PublicKey::Ec { x: &x, y: &y },
        "OKP" => PublicKey::Ed25519 { x: &x },
        _ => return Vec::new(),
    };
    algorithms
        .iter()
        .filter(|algorithm| jwk.fits(**algorithm))
        .filter_map(|&algorithm| {
            Some(VerificationKey {
                kid: jwk.kid.clone(),
                issuer: jwk.issuer.clone(),
                algorithm,
                material: key.into(),
                verifier: Verifier::new(algorithm, key)?,
            })
        })
        .collect()
}

/// Some servers write a sign byte in front, which RFC 7518 §6.3.1.1 does not want.
fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

#[cfg(all(test, feature = "test-util"))]
mod tests {
    use super::*;
    use crate::test_util::SigningKey;

    /// Remembered tokens hold on to their keys: those of old sets must not pile up.
    #[test]
    fn a_key_that_stays_is_the_same_one_in_the_next_set() {
        let server = AuthorizationServer::okta_custom("company.okta.com", "default")
            .audience("api")
            .algorithms([Algorithm::EdDsa]);
        let [a, b] = ["a", "b"].map(|kid| SigningKey::generate(Algorithm::EdDsa).with_kid(kid));
        let other_b = SigningKey::generate(Algorithm::EdDsa).with_kid("b");
        let set = |keys: &[&SigningKey]| {
            let jwks: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
            KeySet::from_json(json!({ "keys": jwks }).to_string().as_bytes(), &server).unwrap()
        };
        let before = set(&[&a, &b]);
        let mut after = set(&[&a, &other_b]);
        after.take_over(&before);
        assert!(Arc::ptr_eq(&before.keys[0], &after.keys[0]));
        assert!(!Arc::ptr_eq(&before.keys[1], &after.keys[1]));
        assert!(after.same_keys(&set(&[&a, &other_b])));
    }

    #[test]
    fn keys_that_are_written_and_read_again_are_the_same() {
        let all = Algorithm::ALL
            .iter()
            .copied()
            .filter(|alg| alg.is_supported());
        let server = AuthorizationServer::okta_custom("company.okta.com", "default")
            .audience("api")
            .algorithms(all.clone());
        let mut jwks = Vec::new();
        for algorithm in all {
            let mut jwk = SigningKey::generate(algorithm).jwk();
            jwks.push(jwk.clone());
            jwk["kid"] = "x".into();
            jwk["issuer"] = "https://id.example/{tenantid}".into();
            jwk.as_object_mut().unwrap().remove("alg");
            jwks.push(jwk);
        }
        let read = |jwks: &[Value]| {
            let text = json!({ "keys": jwks }).to_string();
            KeySet::from_json(text.as_bytes(), &server).unwrap()
        };
        let keys = read(&jwks);
        let again = read(&keys.to_jwks());
        assert!(again.same_keys(&keys));
        assert_eq!(again.len(), keys.len());
        assert_eq!(again.left_out(), 0);
    }
}
