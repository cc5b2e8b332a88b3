//! The one choice of cryptography for TLS in this process.

/// Chooses ring. Google's clients and reqwest bring no provider of their own here, so that aws-lc is not built, and
/// the first TLS connection of a process that has chosen none panics. Called where each client is made; again it does
/// nothing.
pub fn install() {
    // Refused where one was chosen before: then there is a choice, which is all that is needed.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    /// In the workspace two providers are compiled in: without the choice this panics.
    #[tokio::test]
    async fn a_client_of_a_cluster_can_be_made_once_the_choice_is_made() {
        super::install();
        super::install();
        let config = kube::Config::new("https://127.0.0.1:1".parse().unwrap());
        kube::Client::try_from(config).unwrap();
    }
}
