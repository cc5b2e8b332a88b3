//! The proxy between here and a cluster's API server, as kubectl chooses it: the `proxy-url` of kubeconfig, else
//! HTTPS_PROXY (HTTP_PROXY for plain HTTP) unless NO_PROXY names the server.
//!
//! kube 5.0 compares NO_PROXY with the proxy's own address and not with the server's, so it is decided here.

use hyper_util::client::proxy::matcher::Matcher;
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};

/// What a client of the kubeconfig's cluster needs, with the proxy decided.
pub async fn config(kubeconfig: Kubeconfig, options: &KubeConfigOptions) -> Result<Config, KubeconfigError> {
    let named = named(&kubeconfig, options);
    let mut config = Config::from_custom_kubeconfig(kubeconfig, options).await?;
    let chosen = named.or_else(|| from_environment(&config.cluster_url, |name| std::env::var(name).ok()));
    config.proxy_url = chosen.map(|url| url.parse().map_err(KubeconfigError::ParseProxyUrl)).transpose()?;
    Ok(config)
}

/// The proxy that kubeconfig names for the cluster.
fn named(kubeconfig: &Kubeconfig, options: &KubeConfigOptions) -> Option<String> {
    let context = options.context.as_ref().or(kubeconfig.current_context.as_ref());
    let context = kubeconfig.contexts.iter().find(|one| Some(&one.name) == context);
    let cluster = options.cluster.as_ref().or(context.and_then(|one| Some(&one.context.as_ref()?.cluster)))?;
    let cluster = kubeconfig.clusters.iter().find(|one| one.name == *cluster)?;
    cluster.cluster.as_ref()?.proxy_url.clone().filter(|url| !url.is_empty())
}

/// The proxy that the environment names for `server`.
fn from_environment(server: &http::Uri, variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let either = |name: &str| set(name).or_else(|| set(&name.to_lowercase()));
    let name = if server.scheme_str() == Some("http") { "HTTP_PROXY" } else { "HTTPS_PROXY" };
    let proxy = either(name).or_else(|| either("ALL_PROXY"))?;
    let matcher = Matcher::builder().all(proxy.clone()).no(either("NO_PROXY").unwrap_or_default()).build();
    if is_this_machine(server) || matcher.intercept(server).is_none() {
        return None;
    }
    // As curl and kubectl take it.
    Some(if proxy.contains("://") { proxy } else { format!("http://{proxy}") })
}

/// No proxy is between here and here.
fn is_this_machine(server: &http::Uri) -> bool {
    let host = server.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environments_proxy_is_for_servers_that_no_proxy_leaves_to_it() {
        let proxy = "http://user:word@proxy.test:3128";
        let table = [
            ("https://34.1.2.3", "", Some(proxy)),
            ("https://34.1.2.3:6443", "10.0.0.0/8, example.com", Some(proxy)),
            ("https://34.1.2.3", "34.0.0.0/8", None),
            ("https://34.1.2.3", "34.1.2.3", None),
            ("https://api.example.com", ".example.com", None),
            ("https://api.example.com", "example.com", None),
            ("https://api.example.com", "proxy.test", Some(proxy)),
            ("https://api.example.com", "*", None),
            ("https://127.0.0.1:6443", "", None),
            ("https://[::1]:6443", "", None),
            ("https://localhost:6443", "", None),
            ("http://api.example.com", "", None),
        ];
        for (server, no_proxy, expected) in table {
            let variable = |name: &str| match name {
                "HTTPS_PROXY" => Some(proxy.to_owned()),
                "no_proxy" => Some(no_proxy.to_owned()),
                _ => None,
            };
            assert_eq!(
                from_environment(&server.parse().unwrap(), variable).as_deref(),
                expected,
                "{server} {no_proxy}"
            );
        }
        let bare = |name: &str| (name == "https_proxy").then(|| "proxy.test:3128".to_owned());
        let chosen = from_environment(&"https://34.1.2.3".parse().unwrap(), bare);
        assert_eq!(chosen.as_deref(), Some("http://proxy.test:3128"));
    }
}
