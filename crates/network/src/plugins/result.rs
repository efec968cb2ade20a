//! What plugins answer to `ADD`, in every version of the specification.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

/// Reads and checks a result. The answer is kept as it is, for the next plugin.
pub(super) fn parse(answer: &[u8], version: &str) -> Result<Value, String> {
    let mut result: Value = serde_json::from_slice(answer).map_err(|error| {
        let text = String::from_utf8_lossy(answer);
        if text.trim().is_empty() {
            "it is empty".to_owned()
        } else {
            format!("{error}: {:?}", text.trim().chars().take(1000).collect::<String>())
        }
    })?;
    let Some(fields) = result.as_object_mut() else { return Err(format!("{result} is not an object")) };
    match fields.get("cniVersion") {
        None => {
            fields.insert("cniVersion".to_owned(), Value::from(version));
        }
        Some(Value::String(told)) if told == version => {}
        Some(told) => return Err(format!("it has version {told}, and {version:?} was asked for")),
    }
    check(&result)?;
    Ok(result)
}

/// Whether a result is of the form before 0.3.0.
fn is_old(result: &Value) -> bool {
    matches!(result["cniVersion"].as_str(), Some("0.1.0" | "0.2.0"))
}

fn check(result: &Value) -> Result<(), String> {
    if is_old(result) {
        for family in ["ip4", "ip6"] {
            if let Some(part) = result.get(family).filter(|part| !part.is_null()) {
                address(part, "ip", family)?;
                optional_ip(part, "gateway", family)?;
            }
        }
        return Ok(());
    }
    let interfaces = list(result, "interfaces")?;
    for (place, interface) in interfaces.iter().enumerate() {
        if interface["name"].as_str().is_none_or(str::is_empty) {
            return Err(format!("interfaces[{place}] has no name"));
        }
    }
    for (place, ip) in list(result, "ips")?.iter().enumerate() {
        let name = format!("ips[{place}]");
        address(ip, "address", &name)?;
        optional_ip(ip, "gateway", &name)?;
        if let Some(index) = ip.get("interface").filter(|index| !index.is_null())
            && index.as_u64().is_none_or(|index| index >= interfaces.len() as u64)
        {
            return Err(format!("{name}.interface is {index}, and there are {} interfaces", interfaces.len()));
        }
    }
    for (place, route) in list(result, "routes")?.iter().enumerate() {
        let name = format!("routes[{place}]");
        address(route, "dst", &name)?;
        optional_ip(route, "gw", &name)?;
    }
    Ok(())
}

fn list<'a>(result: &'a Value, name: &str) -> Result<&'a [Value], String> {
    match result.get(name) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(other) => Err(format!("{name} is {other}, not a list")),
    }
}

fn address(part: &Value, field: &str, name: &str) -> Result<IpAddr, String> {
    let text = part[field].as_str().ok_or_else(|| format!("{name} has no {field}"))?;
    text.parse::<IpNet>().map(|net| net.addr()).map_err(|_| format!("{name}.{field} {text:?} is not an address with its prefix length"))
}

fn optional_ip(part: &Value, field: &str, name: &str) -> Result<(), String> {
    match part[field].as_str().filter(|text| !text.is_empty()) {
        Some(text) => text.parse::<IpAddr>().map(drop).map_err(|_| format!("{name}.{field} {text:?} is not an address")),
        None => Ok(()),
    }
}

/// The pod's addresses in a checked result: those on its own interface, IPv4 first.
pub(super) fn addresses(result: &Value, interface: &str) -> Result<Vec<IpAddr>, String> {
    let mut found = Vec::new();
    if is_old(result) {
        for family in ["ip4", "ip6"] {
            if let Some(part) = result.get(family).filter(|part| !part.is_null()) {
                found.push(address(part, "ip", family)?);
            }
        }
    } else {
        let interfaces = list(result, "interfaces")?;
        for ip in list(result, "ips")? {
            let on = ip["interface"].as_u64().and_then(|index| interfaces.get(usize::try_from(index).ok()?));
            let own = on.is_none_or(|on| on["name"] == interface && on["sandbox"].as_str().is_some_and(|sandbox| !sandbox.is_empty()));
            if own {
                found.push(address(ip, "address", "ips")?);
            }
        }
    }
    if found.is_empty() {
        return Err(format!("it has no address for {interface}"));
    }
    found.sort_by_key(IpAddr::is_ipv6);
    Ok(found)
}
