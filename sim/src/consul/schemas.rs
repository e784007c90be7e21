//! The bodies Consul takes, as the Go structures it decodes them into.

use super::decode::{Kind, Own, Structure};
use super::go;
use super::json::Json;

use Kind::{Any, Int, List, Map, Struct, Text, Truth, Uint};

/// The beginning that the types of both kinds of checks share.
macro_rules! check_go {
    () => {
        concat!(
            "struct { Interval interface {}; Timeout interface {}; TTL interface {}; ",
            "DeregisterCriticalServiceAfter interface {}; Args []string \"json:\\\"args\\\"\"; ",
            "ScriptArgsSnake []string \"json:\\\"script_args\\\"\"; ",
            "DeregisterCriticalServiceAfterSnake interface {} ",
            "\"json:\\\"deregister_critical_service_after\\\"\"; ",
            "DockerContainerIDSnake string \"json:\\\"docker_container_id\\\"\"; ",
            "TLSSkipVerifySnake bool \"json:\\\"tls_skip_verify\\\"\"; "
        )
    };
}

pub(crate) const STRING: Kind = Text("string");
pub(crate) const STRINGS: Kind = List(&STRING, "[]string");
pub(crate) const STRING_MAP: Kind = Map(&STRING, "map[string]string");
pub(crate) const HEADER: Kind = Map(&STRINGS, "map[string][]string");

static SERVICE_ADDRESS: Structure = Structure {
    name: "ServiceAddress",
    go_type: "structs.ServiceAddress",
    own: None,
    fields: &[("Address", STRING), ("Port", Int)],
};
pub(crate) const ADDRESSES: Kind =
    Map(&Struct(&SERVICE_ADDRESS), "map[string]structs.ServiceAddress");

pub(crate) static WEIGHTS: Structure = Structure {
    name: "Weights",
    go_type: "structs.Weights",
    own: None,
    fields: &[("Passing", Int), ("Warning", Int)],
};

static CONNECT: Structure = Structure {
    name: "",
    go_type: CONNECT_GO,
    own: Some(Own { strict: false, after: |_| Ok(()) }),
    fields: &[("Native", Truth), ("SidecarService", Any), ("sidecar_service", Any)],
};

static PROXY: Structure = Structure {
    name: "",
    go_type: PROXY_GO,
    own: Some(Own { strict: false, after: |_| Ok(()) }),
    fields: &[],
};

/// The check inside a service registration.
static CHECK_TYPE: Structure = Structure {
    name: "",
    go_type: CHECK_TYPE_GO,
    own: Some(Own { strict: true, after: check_durations }),
    fields: &[
        ("Interval", Any),
        ("Timeout", Any),
        ("TTL", Any),
        ("DeregisterCriticalServiceAfter", Any),
        ("args", STRINGS),
        ("script_args", STRINGS),
        ("deregister_critical_service_after", Any),
        ("docker_container_id", STRING),
        ("tls_skip_verify", Truth),
        ("ServiceID", STRING),
        ("service_id", STRING),
        ("CheckID", Text("types.CheckID")),
        ("Name", STRING),
        ("Status", STRING),
        ("Notes", STRING),
        ("ScriptArgs", STRINGS),
        ("HTTP", STRING),
        ("Header", HEADER),
        ("Method", STRING),
        ("Body", STRING),
        ("TCP", STRING),
        ("AliasNode", STRING),
        ("AliasService", STRING),
        ("DockerContainerID", STRING),
        ("Shell", STRING),
        ("GRPC", STRING),
        ("GRPCUseTLS", Truth),
        ("TLSSkipVerify", Truth),
        ("SuccessBeforePassing", Int),
        ("FailuresBeforeCritical", Int),
        ("ProxyHTTP", STRING),
        ("ProxyGRPC", STRING),
        ("OutputMaxSize", Int),
    ],
};

/// Body of `/v1/agent/check/register`.
static CHECK_DEFINITION: Structure = Structure {
    name: "",
    go_type: CHECK_DEFINITION_GO,
    own: Some(Own { strict: true, after: check_durations }),
    fields: &[
        ("Interval", Any),
        ("Timeout", Any),
        ("TTL", Any),
        ("DeregisterCriticalServiceAfter", Any),
        ("args", STRINGS),
        ("script_args", STRINGS),
        ("deregister_critical_service_after", Any),
        ("docker_container_id", STRING),
        ("tls_skip_verify", Truth),
        ("service_id", STRING),
        ("ID", Text("types.CheckID")),
        ("Name", STRING),
        ("Notes", STRING),
        ("ServiceID", STRING),
        ("Token", STRING),
        ("Status", STRING),
        ("ScriptArgs", STRINGS),
        ("HTTP", STRING),
        ("Header", HEADER),
        ("Method", STRING),
        ("Body", STRING),
        ("TCP", STRING),
        ("DockerContainerID", STRING),
        ("Shell", STRING),
        ("GRPC", STRING),
        ("GRPCUseTLS", Truth),
        ("TLSSkipVerify", Truth),
        ("AliasNode", STRING),
        ("AliasService", STRING),
        ("SuccessBeforePassing", Int),
        ("FailuresBeforeCritical", Int),
        ("OutputMaxSize", Int),
    ],
};

static SERVICE_DEFINITION: Structure = Structure {
    name: "",
    go_type: SERVICE_DEFINITION_GO,
    own: Some(Own { strict: true, after: |_| Ok(()) }),
    fields: &[
        ("enable_tag_override", Truth),
        ("tagged_addresses", ADDRESSES),
        ("Kind", Text("structs.ServiceKind")),
        ("ID", STRING),
        ("Name", STRING),
        ("Tags", STRINGS),
        ("Address", STRING),
        ("TaggedAddresses", ADDRESSES),
        ("Meta", STRING_MAP),
        ("Port", Int),
        ("Check", Struct(&CHECK_TYPE)),
        ("Checks", List(&Struct(&CHECK_TYPE), "structs.CheckTypes")),
        ("Weights", Struct(&WEIGHTS)),
        ("Token", STRING),
        ("EnableTagOverride", Truth),
        ("Proxy", Struct(&PROXY)),
        ("Connect", Struct(&CONNECT)),
    ],
};

static NODE_SERVICE: Structure = Structure {
    name: "NodeService",
    go_type: "structs.NodeService",
    own: None,
    fields: &[
        ("Kind", Text("structs.ServiceKind")),
        ("ID", STRING),
        ("Service", STRING),
        ("Tags", STRINGS),
        ("Address", STRING),
        ("TaggedAddresses", ADDRESSES),
        ("Meta", STRING_MAP),
        ("Port", Int),
        ("Weights", Struct(&WEIGHTS)),
        ("EnableTagOverride", Truth),
        ("Proxy", Struct(&PROXY)),
        ("Connect", Struct(&CONNECT)),
        ("CreateIndex", Uint),
        ("ModifyIndex", Uint),
    ],
};

static CHECK_DETAILS: Structure = Structure {
    name: "",
    go_type: "structs.HealthCheckDefinition",
    own: Some(Own { strict: false, after: check_durations }),
    fields: &[
        ("Interval", Any),
        ("Timeout", Any),
        ("DeregisterCriticalServiceAfter", Any),
        ("TTL", Any),
        ("HTTP", STRING),
        ("TLSSkipVerify", Truth),
        ("Header", HEADER),
        ("Method", STRING),
        ("Body", STRING),
        ("TCP", STRING),
        ("OutputMaxSize", Uint),
        ("ScriptArgs", STRINGS),
        ("DockerContainerID", STRING),
        ("Shell", STRING),
        ("GRPC", STRING),
        ("GRPCUseTLS", Truth),
        ("AliasNode", STRING),
        ("AliasService", STRING),
    ],
};

static HEALTH_CHECK: Structure = Structure {
    name: "HealthCheck",
    go_type: "structs.HealthCheck",
    own: None,
    fields: &[
        ("Node", STRING),
        ("CheckID", Text("types.CheckID")),
        ("Name", STRING),
        ("Status", STRING),
        ("Notes", STRING),
        ("Output", STRING),
        ("ServiceID", STRING),
        ("ServiceName", STRING),
        ("ServiceTags", STRINGS),
        ("Type", STRING),
        ("Definition", Struct(&CHECK_DETAILS)),
        ("CreateIndex", Uint),
        ("ModifyIndex", Uint),
    ],
};

static REGISTER_REQUEST: Structure = Structure {
    name: "RegisterRequest",
    go_type: "structs.RegisterRequest",
    own: None,
    fields: &[
        ("Datacenter", STRING),
        ("ID", Text("types.NodeID")),
        ("Node", STRING),
        ("Address", STRING),
        ("TaggedAddresses", STRING_MAP),
        ("NodeMeta", STRING_MAP),
        ("Service", Struct(&NODE_SERVICE)),
        ("Check", Struct(&HEALTH_CHECK)),
        ("Checks", List(&Struct(&HEALTH_CHECK), "structs.HealthChecks")),
        ("SkipNodeUpdate", Truth),
        ("Token", STRING),
        ("CreateIndex", Uint),
        ("ModifyIndex", Uint),
    ],
};

static DEREGISTER_REQUEST: Structure = Structure {
    name: "",
    go_type: "structs.DeregisterRequest",
    own: Some(Own { strict: true, after: |_| Ok(()) }),
    fields: &[
        ("Address", STRING),
        ("Datacenter", STRING),
        ("Node", STRING),
        ("ServiceID", STRING),
        ("CheckID", Text("types.CheckID")),
        ("Token", STRING),
    ],
};

static SERVICE_CHECK: Structure = Structure {
    name: "ServiceCheck",
    go_type: "structs.ServiceCheck",
    own: None,
    fields: &[("ID", STRING), ("Namespace", STRING)],
};

static SESSION_BODY: Structure = Structure {
    name: "",
    go_type: "struct { LockDelay interface {}; *structs.Alias }",
    own: Some(Own { strict: false, after: |session| lock_delay(session).map(|_| ()) }),
    fields: &[
        ("LockDelay", Any),
        ("ID", STRING),
        ("Name", STRING),
        ("Node", STRING),
        ("Behavior", Text("structs.SessionBehavior")),
        ("TTL", STRING),
        ("NodeChecks", STRINGS),
        ("ServiceChecks", List(&Struct(&SERVICE_CHECK), "[]structs.ServiceCheck")),
        ("Checks", List(&Text("types.CheckID"), "[]types.CheckID")),
        ("CreateIndex", Uint),
        ("ModifyIndex", Uint),
    ],
};

static CHECK_UPDATE: Structure = Structure {
    name: "checkUpdate",
    go_type: "agent.checkUpdate",
    own: None,
    fields: &[("Status", STRING), ("Output", STRING)],
};

/// Body of `/v1/agent/service/register`.
pub(crate) const SERVICE: Kind = Struct(&SERVICE_DEFINITION);
/// Body of `/v1/agent/check/register`.
pub(crate) const CHECK: Kind = Struct(&CHECK_DEFINITION);
/// Body of `/v1/agent/check/update/ID`.
pub(crate) const UPDATE: Kind = Struct(&CHECK_UPDATE);
/// Body of `/v1/catalog/register`.
pub(crate) const REGISTER: Kind = Struct(&REGISTER_REQUEST);
/// Body of `/v1/catalog/deregister`.
pub(crate) const DEREGISTER: Kind = Struct(&DEREGISTER_REQUEST);
/// Body of `/v1/session/create`.
pub(crate) const SESSION: Kind = Struct(&SESSION_BODY);

const CHECK_TYPE_GO: &str = concat!(
    check_go!(),
    "ServiceID string \"json:\\\"ServiceID\\\"\"; ",
    "ServiceIDSnake string \"json:\\\"service_id\\\"\"; *structs.Alias }"
);
const CHECK_DEFINITION_GO: &str =
    concat!(check_go!(), "ServiceIDSnake string \"json:\\\"service_id\\\"\"; *structs.Alias }");
const SERVICE_DEFINITION_GO: &str = "struct { \
     EnableTagOverrideSnake bool \"json:\\\"enable_tag_override\\\"\"; \
     TaggedAddressesSnake map[string]structs.ServiceAddress \
     \"json:\\\"tagged_addresses\\\"\"; *structs.Alias }";
const CONNECT_GO: &str = "struct { SidecarServiceSnake *structs.ServiceDefinition \
     \"json:\\\"sidecar_service\\\"\"; *structs.Alias }";
const PROXY_GO: &str = "struct { DestinationServiceNameSnake string \
     \"json:\\\"destination_service_name\\\"\"; DestinationServiceIDSnake string \
     \"json:\\\"destination_service_id\\\"\"; LocalServiceAddressSnake string \
     \"json:\\\"local_service_address\\\"\"; LocalServicePortSnake int \
     \"json:\\\"local_service_port\\\"\"; *structs.Alias }";

fn check_durations(check: &Json) -> Result<(), String> {
    for name in ["Interval", "Timeout", "TTL"] {
        duration(check, name)?;
    }
    deregister_after(check)?;
    Ok(())
}

/// Reads a duration that may be text, or a number of nanoseconds.
pub(crate) fn duration(of: &Json, name: &str) -> Result<i64, String> {
    match of.member(name) {
        Some(Json::Text(text)) => go::parse_duration(text),
        Some(Json::Number(digits)) => Ok(digits.parse::<f64>().unwrap_or(0.0) as i64),
        _ => Ok(0),
    }
}

/// Reads `DeregisterCriticalServiceAfter`, in either spelling.
pub(crate) fn deregister_after(check: &Json) -> Result<i64, String> {
    match check.member("DeregisterCriticalServiceAfter") {
        None | Some(Json::Null) => duration(check, "deregister_critical_service_after"),
        Some(_) => duration(check, "DeregisterCriticalServiceAfter"),
    }
}

/// Reads a session's lock delay; small numbers are seconds.
pub(crate) fn lock_delay(session: &Json) -> Result<Option<i64>, String> {
    match session.member("LockDelay") {
        None | Some(Json::Null) => Ok(None),
        Some(_) => {
            let nanos = duration(session, "LockDelay")?;
            Ok(Some(if nanos < 1_000 { nanos.saturating_mul(1_000_000_000) } else { nanos }))
        }
    }
}
