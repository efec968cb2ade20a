use super::*;

#[test]
fn every_kind_is_found_by_plural_and_kind() {
    let table = table();
    assert!(table.resources().len() > 55);
    for resource in table.resources() {
        assert!(std::ptr::eq(&**resource, &**table.resource(&resource.group, &resource.version, &resource.plural).unwrap()));
        assert!(std::ptr::eq(&**resource, &**table.kind_of(&resource.api_version(), &resource.kind).unwrap()));
        assert!(resource.schema.describe().object, "{}", resource.kind);
        if resource.is_stored() {
            assert!(table.resource(&resource.storage.group, &resource.storage.version, &resource.storage.plural).is_some());
            let list = resource.schema.describe().name.to_string() + "List";
            assert!(table.schema(&list).is_some(), "{list}");
        }
    }
}

#[test]
fn fields_are_found_by_name() {
    for structure in table().types().structs() {
        assert!(structure.fields.len() <= 128, "{}", structure.name);
        for (index, field) in structure.fields.iter().enumerate() {
            assert_eq!(structure.index(&field.name), Some(index), "{}.{}", structure.name, field.name);
        }
        assert_eq!(structure.index("noSuchField"), None);
    }
}

#[test]
fn facts_of_the_reference() {
    let pod = table().resource("", "v1", "pods").unwrap();
    assert_eq!(pod.short_names, ["po"]);
    assert_eq!(pod.subresource("eviction").unwrap().group, "policy");
    let types = pod.schema.types();
    let spec = types.get(types.find("io.k8s.api.core.v1.PodSpec").unwrap());
    let containers = spec.field("containers").unwrap();
    assert_eq!((containers.tag, containers.required), (2, true));
    assert_eq!(containers.list_type, ListType::Map(vec!["name".into()]));
    assert_eq!(spec.field("hostNetwork").unwrap().presence, Presence::Omit);
    assert_eq!(spec.field("enableServiceLinks").unwrap().presence, Presence::Pointer);
    let volume = types.get(types.find("io.k8s.api.core.v1.Volume").unwrap());
    assert!(volume.field("emptyDir").is_some(), "inlined");
    let groups: Vec<&str> = table().groups().iter().map(|group| group.name.as_str()).collect();
    assert_eq!(&groups[..4], ["", "apiregistration.k8s.io", "apps", "events.k8s.io"]);
}
