//! The queue: Redis in one pod, with a password, reachable only by workers.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EnvVar, EnvVarSource, ExecAction, Pod, PodSpec, Probe, Secret,
    SecretKeySelector, Service, ServicePort, ServiceSpec,
};
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{
    Config, DEPLOYMENT_LABEL, PASSWORD_KEY, REDIS, REDIS_LEADER, WORKLOAD, container_security, pod_security,
    resources,
};
use crate::k8s::cluster::REDIS as SIZE;

const PORT: i32 = 6379;

/// The password goes in by the standard input, where no list of processes shows it. Nothing is kept
/// on a disk: the volume of the run is the truth and a worker rebuilds the queue from it. What does
/// not fit in memory is refused, never evicted.
const START: &str = r#"exec redis-server - <<END
requirepass $REDISCLI_AUTH
save ""
appendonly no
maxmemory 384mb
maxmemory-policy noeviction
END
"#;

/// The environment variable that both `redis-cli` and the worker take the password from.
pub(super) fn password_env(config: &Config) -> EnvVar {
    EnvVar {
        name: "REDISCLI_AUTH".to_owned(),
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: config.redis(),
                key: PASSWORD_KEY.to_owned(),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

/// The Secret with the password. Never rendered into a file.
pub fn secret(config: &Config, password: &str) -> Secret {
    Secret {
        metadata: config.meta(REDIS, REDIS),
        data: Some([(PASSWORD_KEY.to_owned(), ByteString(password.as_bytes().to_vec()))].into()),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    }
}

/// The pod `redis-leader`. It tolerates no Spot taint, so it stays off the machines that vanish.
pub fn pod(config: &Config) -> Pod {
    Pod {
        metadata: config.lasting(REDIS_LEADER, REDIS),
        spec: Some(PodSpec {
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            security_context: Some(pod_security()),
            restart_policy: Some("Always".to_owned()),
            termination_grace_period_seconds: Some(5),
            containers: vec![container(config)],
            ..PodSpec::default()
        }),
        ..Pod::default()
    }
}

fn container(config: &Config) -> Container {
    Container {
        name: REDIS.to_owned(),
        image: Some(config.redis_image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(["sh", "-c", START].map(str::to_owned).to_vec()),
        env: Some(vec![password_env(config)]),
        ports: Some(vec![ContainerPort {
            name: Some(REDIS.to_owned()),
            container_port: PORT,
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        resources: Some(resources(SIZE, SIZE)),
        security_context: Some(container_security()),
        startup_probe: Some(probe(1, 60)),
        liveness_probe: Some(probe(10, 3)),
        ..Container::default()
    }
}

/// Pings Redis. `redis-cli` exits with 0 on any reply, so the reply is compared.
fn probe(period_seconds: i32, failure_threshold: i32) -> Probe {
    let ask = r#"test "$(redis-cli ping)" = PONG"#;
    Probe {
        exec: Some(ExecAction { command: Some(["sh", "-c", ask].map(str::to_owned).to_vec()) }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(5),
        failure_threshold: Some(failure_threshold),
        ..Probe::default()
    }
}

/// The service `redis`.
pub fn service(config: &Config) -> Service {
    Service {
        metadata: config.meta(REDIS, REDIS),
        spec: Some(ServiceSpec {
            selector: Some(config.labels(REDIS)),
            ports: Some(vec![ServicePort {
                name: Some(REDIS.to_owned()),
                port: PORT,
                protocol: Some("TCP".to_owned()),
                target_port: Some(IntOrString::String(REDIS.to_owned())),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// Redis's port is open to workers, and nothing else of the deployment takes connections at all.
pub fn network_policies(config: &Config) -> [NetworkPolicy; 2] {
    let everything = LabelSelector {
        match_labels: Some([(DEPLOYMENT_LABEL.to_owned(), config.deployment.clone())].into()),
        ..LabelSelector::default()
    };
    let from_workers = NetworkPolicyIngressRule {
        from: Some(vec![NetworkPolicyPeer {
            pod_selector: Some(part(config, WORKLOAD)),
            ..NetworkPolicyPeer::default()
        }]),
        ports: Some(vec![NetworkPolicyPort {
            port: Some(IntOrString::Int(PORT)),
            protocol: Some("TCP".to_owned()),
            ..NetworkPolicyPort::default()
        }]),
    };
    [
        policy(config, "closed", everything, None),
        policy(config, REDIS, part(config, REDIS), Some(vec![from_workers])),
    ]
}

fn part(config: &Config, part: &str) -> LabelSelector {
    LabelSelector { match_labels: Some(config.labels(part)), ..LabelSelector::default() }
}

fn policy(
    config: &Config,
    name: &str,
    pod_selector: LabelSelector,
    ingress: Option<Vec<NetworkPolicyIngressRule>>,
) -> NetworkPolicy {
    NetworkPolicy {
        metadata: config.meta(name, REDIS),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(pod_selector),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress,
            ..NetworkPolicySpec::default()
        }),
    }
}
