//! Enums go over the wire by name (gcloud) or by number (Google's crates). Kept by name here.

use serde_json::Value;

/// Field, name, number. One name has one number in every enum that a field's name stands for here.
const NUMBERS: [(&str, &str, u64); 30] = [
    ("status", "PROVISIONING", 1),
    ("status", "RUNNING", 2),
    ("status", "RECONCILING", 3),
    ("status", "STOPPING", 4),
    ("status", "ERROR", 5),
    ("status", "DEGRADED", 6),
    ("status", "PENDING", 1),
    ("status", "DONE", 3),
    ("operationType", "CREATE_CLUSTER", 1),
    ("operationType", "DELETE_CLUSTER", 2),
    ("state", "CREATING", 1),
    ("state", "READY", 2),
    ("state", "REPAIRING", 3),
    ("state", "DELETING", 4),
    ("state", "ERROR", 6),
    ("state", "DISABLED", 1),
    ("state", "ENABLED", 2),
    ("tier", "BASIC_HDD", 3),
    ("tier", "BASIC_SSD", 4),
    ("tier", "HIGH_SCALE_SSD", 5),
    ("tier", "ENTERPRISE", 6),
    ("tier", "ZONAL", 7),
    ("tier", "REGIONAL", 8),
    ("protocol", "NFS_V3", 1),
    ("protocol", "NFS_V4_1", 2),
    ("connectMode", "DIRECT_PEERING", 1),
    ("connectMode", "PRIVATE_SERVICE_ACCESS", 2),
    ("effect", "NO_SCHEDULE", 1),
    ("effect", "PREFER_NO_SCHEDULE", 2),
    ("effect", "NO_EXECUTE", 3),
];

/// Names the enums of a request.
pub fn named(mut value: Value) -> Value {
    each(&mut value, &|field, value| {
        let number = value.as_u64()?;
        // Requests carry none of the ambiguous fields (status, state).
        let (_, name, _) = NUMBERS.iter().find(|entry| entry.0 == field && entry.2 == number)?;
        Some((*name).into())
    });
    value
}

/// Numbers the enums of an answer, as `$alt=json;enum-encoding=int` asks.
pub fn numbered(mut value: Value) -> Value {
    each(&mut value, &|field, value| {
        let name = value.as_str()?;
        let (_, _, number) = NUMBERS.iter().find(|entry| entry.0 == field && entry.1 == name)?;
        Some((*number).into())
    });
    value
}

fn each(value: &mut Value, change: &impl Fn(&str, &Value) -> Option<Value>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                match change(field, value) {
                    Some(changed) => *value = changed,
                    None => each(value, change),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| each(value, change)),
        _ => {}
    }
}
