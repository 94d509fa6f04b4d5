//! Kubernetes' service accounts.

use crate::{
    algorithm::Algorithm,
    authorization_server::{AuthorizationServer, WithoutAudience},
    claim::ListClaim,
};

/// # Kubernetes
impl AuthorizationServer {
    /// The projected tokens of service accounts of a Kubernetes cluster.
    ///
    /// `issuer` is what the API server was started with (`--service-account-issuer`), such as
    /// `https://kubernetes.default.svc.cluster.local`, or, of Amazon EKS,
    /// `https://oidc.eks.{region}.amazonaws.com/id/{id}`. The audience is the one of the projected volume.
    /// Tokens from before projected volumes never expire, and are refused.
    ///
    /// Keys are found by [discovery](Self::discover). Within a cluster, the API server wants a token and
    /// has a certificate of the cluster's own, and the URL that its metadata names is another one: give
    /// the layer an [HTTP client](crate::AuthenticateLayerBuilder::http_client) that has both, and the URL
    /// with [`jwks_uri`](Self::jwks_uri), `https://kubernetes.default.svc/openid/v1/jwks`. Or have the keys
    /// in a [file](Self::jwks_file).
    ///
    /// Every pod gets a token with any audience that it asks for, so let the role, or the subject, decide.
    /// The subject is `system:serviceaccount:{namespace}:{name}`. The namespace is read as the one group.
    /// There are no scopes or clients. RS256 and ES256 are accepted.
    pub fn kubernetes(issuer: &str) -> WithoutAudience {
        Self::discover(issuer).with(|server| {
            server
                .algorithms([Algorithm::Rs256, Algorithm::Es256])
                .client_claims::<&str>([])
                .groups_claim(ListClaim::string("/kubernetes.io/namespace"))
        })
    }
}
