//! The steps of a transaction, as the Go structures Consul decodes them into.

use super::decode::{Kind, Own, Structure};
use super::schemas::{ADDRESSES, HEADER, STRING, STRING_MAP, STRINGS, WEIGHTS};

use Kind::{Any, Bytes, Duration, Int, List, Struct, Text, Truth, Uint};

static KV_OPERATION: Structure = Structure {
    name: "KVTxnOp",
    go_type: "api.KVTxnOp",
    own: None,
    fields: &[
        ("Verb", Text("api.KVOp")),
        ("Key", STRING),
        ("Value", Bytes),
        ("Flags", Uint),
        ("Index", Uint),
        ("Session", STRING),
        ("Namespace", STRING),
    ],
};

static API_NODE: Structure = Structure {
    name: "Node",
    go_type: "api.Node",
    own: None,
    fields: &[
        ("ID", STRING),
        ("Node", STRING),
        ("Address", STRING),
        ("Datacenter", STRING),
        ("TaggedAddresses", STRING_MAP),
        ("Meta", STRING_MAP),
        ("CreateIndex", Uint),
        ("ModifyIndex", Uint),
    ],
};

static NODE_OPERATION: Structure = Structure {
    name: "NodeTxnOp",
    go_type: "api.NodeTxnOp",
    own: None,
    fields: &[("Verb", Text("api.NodeOp")), ("Node", Struct(&API_NODE))],
};

static API_SERVICE: Structure = Structure {
    name: "AgentService",
    go_type: "api.AgentService",
    own: None,
    fields: &[
        ("Kind", Text("api.ServiceKind")),
        ("ID", STRING),
        ("Service", STRING),
        ("Tags", STRINGS),
        ("Meta", STRING_MAP),
        ("Port", Int),
        ("Address", STRING),
        ("TaggedAddresses", ADDRESSES),
        ("Weights", Struct(&WEIGHTS)),
        ("EnableTagOverride", Truth),
        ("CreateIndex", Uint),
        ("ModifyIndex", Uint),
        ("ContentHash", STRING),
        ("Proxy", Any),
        ("Connect", Any),
        ("Namespace", STRING),
    ],
};

static SERVICE_OPERATION: Structure = Structure {
    name: "ServiceTxnOp",
    go_type: "api.ServiceTxnOp",
    own: None,
    fields: &[("Verb", Text("api.ServiceOp")), ("Node", STRING), ("Service", Struct(&API_SERVICE))],
};

static API_CHECK_DETAILS: Structure = Structure {
    name: "HealthCheckDefinition",
    go_type: "api.HealthCheckDefinition",
    own: Some(Own { strict: false, after: |_| Ok(()) }),
    fields: &[
        ("HTTP", STRING),
        ("Header", HEADER),
        ("Method", STRING),
        ("Body", STRING),
        ("TLSSkipVerify", Truth),
        ("TCP", STRING),
        ("Interval", Duration),
        ("Timeout", Duration),
        ("DeregisterCriticalServiceAfter", Duration),
    ],
};

static API_CHECK: Structure = Structure {
    name: "HealthCheck",
    go_type: "api.HealthCheck",
    own: None,
    fields: &[
        ("Node", STRING),
        ("CheckID", STRING),
        ("Name", STRING),
        ("Status", STRING),
        ("Notes", STRING),
        ("Output", STRING),
        ("ServiceID", STRING),
        ("ServiceName", STRING),
        ("ServiceTags", STRINGS),
        ("Type", STRING),
        ("Namespace", STRING),
        ("Definition", Struct(&API_CHECK_DETAILS)),
        ("CreateIndex", Uint),
        ("ModifyIndex", Uint),
    ],
};

static CHECK_OPERATION: Structure = Structure {
    name: "CheckTxnOp",
    go_type: "api.CheckTxnOp",
    own: None,
    fields: &[("Verb", Text("api.CheckOp")), ("Check", Struct(&API_CHECK))],
};

static OPERATION: Structure = Structure {
    name: "TxnOp",
    go_type: "api.TxnOp",
    own: None,
    fields: &[
        ("KV", Struct(&KV_OPERATION)),
        ("Node", Struct(&NODE_OPERATION)),
        ("Service", Struct(&SERVICE_OPERATION)),
        ("Check", Struct(&CHECK_OPERATION)),
    ],
};

/// Body of `/v1/txn`.
pub(crate) const TXN: Kind = List(&Struct(&OPERATION), "api.TxnOps");
