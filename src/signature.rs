//! Signature checks: the one place that knows the crypto crates.
//!
//! The backend is named, never looked up: with `aws_lc_rs` (the default) it is aws-lc-rs with keys
//! parsed once; with `rust_crypto` alone it is jsonwebtoken's provider of that name, which holds
//! keys as decoded numbers. No process-wide default is read or set, so other crates' choices of
//! features cannot change or break ours.

use crate::algorithm::Algorithm;

/// A public key's numbers, as unsigned big-endian bytes.
#[derive(Clone, Copy)]
pub(crate) enum PublicKey<'a> {
    /// Without leading zeros.
    Rsa {
        n: &'a [u8],
        e: &'a [u8],
    },
    /// Each coordinate as long as the curve's field.
    Ec {
        x: &'a [u8],
        y: &'a [u8],
    },
    Ed25519 {
        x: &'a [u8],
    },
}

/// A key that is ready to verify signatures of one algorithm.
pub(crate) struct Verifier(backend::Key);

impl Verifier {
    /// `None` if the key is not one for this algorithm, or is malformed, or weak.
    pub(crate) fn new(algorithm: Algorithm, key: PublicKey<'_>) -> Option<Self> {
        if let PublicKey::Rsa { n, e } = key
            && !is_sound_rsa(n, e)
        {
            return None;
        }
        backend::key(algorithm, key).map(Self)
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        backend::verify(&self.0, message, signature)
    }
}

/// At least 2048 bits (RFC 7518 §3.3), at most 8192, so that a check stays cheap; an odd modulus
/// and an odd exponent from 3 to 2^33.
fn is_sound_rsa(n: &[u8], e: &[u8]) -> bool {
    let bits = n
        .first()
        .map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
    let is_odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
    let exponent = e
        .iter()
        .fold(0_u64, |value, byte| (value << 8) | u64::from(*byte));
    (2_048..=8_192).contains(&bits)
        && is_odd(n)
        && is_odd(e)
        && e.len() <= 5
        && (3..=1 << 33).contains(&exponent)
}

/// A private key that signs for one algorithm.
#[derive(Clone)]
#[cfg(feature = "aws_lc_rs")]
pub(crate) struct Signer {
    algorithm: Algorithm,
    pair: std::sync::Arc<Pair>,
}

/// None is made.
#[derive(Clone, PartialEq)]
#[cfg(not(feature = "aws_lc_rs"))]
pub(crate) struct Signer;

#[cfg(not(feature = "aws_lc_rs"))]
impl Signer {
    pub(crate) const fn jwt(&self, _: Option<&str>, _: &serde_json::Value) -> Option<String> {
        None
    }
}

#[cfg(feature = "aws_lc_rs")]
enum Pair {
    Rsa(aws_lc_rs::signature::RsaKeyPair),
    Ec(aws_lc_rs::signature::EcdsaKeyPair),
    Ed25519(aws_lc_rs::signature::Ed25519KeyPair),
}

#[cfg(feature = "aws_lc_rs")]
impl Pair {
    fn public_key(&self) -> &[u8] {
        use aws_lc_rs::signature::KeyPair;

        match self {
            Self::Rsa(pair) => pair.public_key().as_ref(),
            Self::Ec(pair) => pair.public_key().as_ref(),
            Self::Ed25519(pair) => pair.public_key().as_ref(),
        }
    }
}

/// The same key.
#[cfg(feature = "aws_lc_rs")]
impl PartialEq for Signer {
    fn eq(&self, other: &Self) -> bool {
        self.pair.public_key() == other.pair.public_key()
    }
}

#[cfg(feature = "aws_lc_rs")]
impl Signer {
    /// RS256, ES256 or EdDSA, by the kind of key.
    pub(crate) fn from_pkcs8(der: &[u8]) -> Option<Self> {
        use aws_lc_rs::signature::{
            ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair,
        };

        let (algorithm, pair) = if let Ok(pair) = RsaKeyPair::from_pkcs8(der) {
            if pair.public_modulus_len() < 256 {
                return None;
            }
            (Algorithm::Rs256, Pair::Rsa(pair))
        } else if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der) {
            (Algorithm::Es256, Pair::Ec(pair))
        } else {
            (
                Algorithm::EdDsa,
                Pair::Ed25519(Ed25519KeyPair::from_pkcs8(der).ok()?),
            )
        };
        Some(Self {
            algorithm,
            pair: std::sync::Arc::new(pair),
        })
    }

    /// A JWT with these claims.
    pub(crate) fn jwt(&self, kid: Option<&str>, claims: &serde_json::Value) -> Option<String> {
        use base64_simd::URL_SAFE_NO_PAD;

        let mut header = serde_json::json!({ "alg": self.algorithm.as_str(), "typ": "JWT" });
        if let Some(kid) = kid {
            header["kid"] = kid.into();
        }
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode_to_string(bytes);
        let (header, claims) = (header.to_string(), claims.to_string());
        let input = format!(
            "{}.{}",
            encode(header.as_bytes()),
            encode(claims.as_bytes())
        );
        let signature = self.sign(input.as_bytes())?;
        Some(format!("{input}.{}", encode(&signature)))
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        use aws_lc_rs::{rand::SystemRandom, signature::RSA_PKCS1_SHA256};

        let random = SystemRandom::new();
        match &*self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .ok()?;
                Some(signature)
            }
            Pair::Ec(pair) => Some(pair.sign(&random, message).ok()?.as_ref().to_vec()),
            Pair::Ed25519(pair) => Some(pair.sign(message).as_ref().to_vec()),
        }
    }
}

#[cfg(feature = "aws_lc_rs")]
mod backend {
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
        ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
        RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
        RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    };

    use super::{Algorithm, PublicKey};

    pub(super) type Key = ParsedPublicKey;

    pub(super) fn key(algorithm: Algorithm, key: PublicKey<'_>) -> Option<Key> {
        let rsa = |parameters: &'static RsaParameters| match key {
            PublicKey::Rsa { n, e } => RsaPublicKeyComponents { n, e }
                .to_parsed_public_key(parameters)
                .ok(),
            _ => None,
        };
        // The uncompressed point (SEC 1 §2.3.3); one that is off the curve does not parse.
        let point = |length: usize| match key {
            PublicKey::Ec { x, y } if x.len() == length && y.len() == length => {
                Some([&[4], x, y].concat())
            }
            _ => None,
        };
        match algorithm {
            Algorithm::Rs256 => rsa(&RSA_PKCS1_2048_8192_SHA256),
            Algorithm::Rs384 => rsa(&RSA_PKCS1_2048_8192_SHA384),
            Algorithm::Rs512 => rsa(&RSA_PKCS1_2048_8192_SHA512),
            Algorithm::Ps256 => rsa(&RSA_PSS_2048_8192_SHA256),
            Algorithm::Ps384 => rsa(&RSA_PSS_2048_8192_SHA384),
            Algorithm::Ps512 => rsa(&RSA_PSS_2048_8192_SHA512),
            Algorithm::Es256 => Key::new(&ECDSA_P256_SHA256_FIXED, point(32)?).ok(),
            Algorithm::Es384 => Key::new(&ECDSA_P384_SHA384_FIXED, point(48)?).ok(),
            Algorithm::Es512 => Key::new(&ECDSA_P521_SHA512_FIXED, point(66)?).ok(),
            Algorithm::EdDsa => match key {
                PublicKey::Ed25519 { x } if x.len() == 32 => Key::new(&ED25519, x).ok(),
                _ => None,
            },
        }
    }

    pub(super) fn verify(key: &Key, message: &[u8], signature: &[u8]) -> bool {
        key.verify_sig(message, signature).is_ok()
    }
}

#[cfg(all(feature = "rust_crypto", not(feature = "aws_lc_rs")))]
mod backend {
    use base64_simd::URL_SAFE_NO_PAD;
    use jsonwebtoken::{Algorithm as Alg, DecodingKey, crypto::rust_crypto::DEFAULT_PROVIDER};

    use super::{Algorithm, PublicKey};

    pub(super) struct Key(Alg, DecodingKey);

    pub(super) fn key(algorithm: Algorithm, key: PublicKey<'_>) -> Option<Key> {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode_to_string(bytes);
        let (algorithm, key) = match (algorithm, key) {
            // The `rsa` crate takes no larger keys.
            (algorithm, PublicKey::Rsa { n, e }) if n.len() <= 512 => (
                match algorithm {
                    Algorithm::Rs256 => Alg::RS256,
                    Algorithm::Rs384 => Alg::RS384,
                    Algorithm::Rs512 => Alg::RS512,
                    Algorithm::Ps256 => Alg::PS256,
                    Algorithm::Ps384 => Alg::PS384,
                    Algorithm::Ps512 => Alg::PS512,
                    _ => return None,
                },
                DecodingKey::from_rsa_raw_components(n, e),
            ),
            (Algorithm::Es256, PublicKey::Ec { x, y }) if x.len() == 32 && y.len() == 32 => (
                Alg::ES256,
                DecodingKey::from_ec_components(&encode(x), &encode(y)).ok()?,
            ),
            (Algorithm::Es384, PublicKey::Ec { x, y }) if x.len() == 48 && y.len() == 48 => (
                Alg::ES384,
                DecodingKey::from_ec_components(&encode(x), &encode(y)).ok()?,
            ),
            (Algorithm::EdDsa, PublicKey::Ed25519 { x }) if x.len() == 32 => (
                Alg::EdDSA,
                DecodingKey::from_ed_components(&encode(x)).ok()?,
            ),
            _ => return None,
        };
        // Builds a verifier to see that the point is on its curve.
        (DEFAULT_PROVIDER.verifier_factory)(&algorithm, &key).ok()?;
        Some(Key(algorithm, key))
    }

    pub(super) fn verify(Key(algorithm, key): &Key, message: &[u8], signature: &[u8]) -> bool {
        (DEFAULT_PROVIDER.verifier_factory)(algorithm, key)
            .is_ok_and(|verifier| verifier.verify(message, &signature.to_vec()).is_ok())
    }
}

#[cfg(not(any(feature = "aws_lc_rs", feature = "rust_crypto")))]
compile_error!(
    "portcullis needs a signature backend: enable the feature `aws_lc_rs` (the default) or `rust_crypto`"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_and_malformed_rsa_keys_are_refused() {
        let sound = [0xC1; 256];
        let e = [1, 0, 1];
        assert!(is_sound_rsa(&sound, &e));
        assert!(!is_sound_rsa(&sound[1..], &e), "2040 bits");
        let mut n = sound;
        n[0] = 0x7F;
        assert!(!is_sound_rsa(&n, &e), "2047 bits");
        n = sound;
        n[255] = 0xC0;
        assert!(!is_sound_rsa(&n, &e), "even modulus");
        assert!(!is_sound_rsa(&[0xC1; 1_025], &e), "8200 bits");
        for e in [
            &[][..],
            &[1],
            &[2],
            &[0, 1],
            &[1, 0, 0],
            &[9, 9, 9, 9, 9, 9],
        ] {
            assert!(!is_sound_rsa(&sound, e), "exponent {e:?}");
        }
        assert!(!is_sound_rsa(&[], &e));
    }
}
