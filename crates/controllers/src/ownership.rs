//! Which objects a controller owns: adoption of orphans that its selector takes, release of those
//! that it no longer takes.

use std::fmt::Debug;

use corten_client::{ObjectKey, controller_of, informer::Object, is_deleting, selector};
use k8s_openapi::{
    NamespaceResourceScope,
    apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference},
};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
};
use serde_json::json;

/// What to do about an object.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is owned already.
    Keep,
    /// Nobody owns it and the selector takes it.
    Adopt,
    /// It is owned but the selector no longer takes it.
    Release,
    /// It is none of our business.
    Ignore,
}

/// Decides about an object: pure.
pub(crate) fn claim<O: Resource, K: Resource>(owner: &O, selector: &LabelSelector, object: &K) -> Claim {
    let labels = object.meta().labels.as_ref();
    let selected = !selector::is_empty(selector) && selector::matches(selector, labels);
    match controller_of(object) {
        Some(reference) if Some(&reference.uid) != owner.meta().uid.as_ref() => Claim::Ignore,
        Some(_) if selected => Claim::Keep,
        // An owner on its way out lets the garbage collector take what it has.
        Some(_) if is_deleting(owner) => Claim::Ignore,
        Some(_) => Claim::Release,
        None if selected && !is_deleting(owner) && !is_deleting(object) => Claim::Adopt,
        None => Claim::Ignore,
    }
}

/// The reference that makes `owner` the controller of something.
pub(crate) fn reference<O: Resource<DynamicType = ()>>(owner: &O) -> OwnerReference {
    OwnerReference {
        api_version: O::api_version(&()).into_owned(),
        kind: O::kind(&()).into_owned(),
        name: owner.meta().name.clone().unwrap_or_default(),
        uid: owner.meta().uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The uid of an object's controller, for indexes: at most one.
pub(crate) fn controller_uid<K: Resource>(object: &K) -> Vec<String> {
    let uid = controller_of(object).map(|reference| reference.uid.clone());
    uid.into_iter().collect()
}

/// The namespace of an object that has no controller, for indexes of orphans.
pub(crate) fn orphan_namespace<K: Resource>(object: &K) -> Vec<String> {
    match controller_of(object) {
        Some(_) => Vec::new(),
        None => object.meta().namespace.clone().into_iter().collect(),
    }
}

/// Takes an orphan; before the first adoption the owner itself is read from the server, since a
/// deleted owner that lingers in the informer must not adopt anything.
pub(crate) async fn adopt<O, K>(client: &Client, owner: &O, object: &K) -> Result<bool, kube::Error>
where
    O: Object<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Object<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let key = ObjectKey::of(owner);
    let fresh = Api::<O>::namespaced(client.clone(), &key.namespace).get_opt(&key.name).await?;
    let alive = fresh.is_some_and(|fresh| fresh.meta().uid == owner.meta().uid && !is_deleting(&fresh));
    if !alive {
        return Ok(false);
    }
    let patch = json!({"metadata": {
        "ownerReferences": [reference(owner)],
        "uid": object.meta().uid,
    }});
    patch_owners(client, object, patch).await
}

/// Lets go of an object; gone is as good as released.
pub(crate) async fn release<O, K>(client: &Client, owner: &O, object: &K) -> Result<bool, kube::Error>
where
    O: Object<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Object<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let patch = json!({"metadata": {
        "ownerReferences": [{"$patch": "delete", "uid": owner.meta().uid}],
        "uid": object.meta().uid,
    }});
    patch_owners(client, object, patch).await
}

/// True if the object still exists as the one that was meant (the patch names its uid).
async fn patch_owners<K>(client: &Client, object: &K, patch: serde_json::Value) -> Result<bool, kube::Error>
where
    K: Object<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let key = ObjectKey::of(object);
    let api = Api::<K>::namespaced(client.clone(), &key.namespace);
    let params = PatchParams::default();
    match api.patch_metadata(&key.name, &params, &Patch::Strategic(patch)).await {
        Ok(_) => Ok(true),
        Err(error) if corten_client::is_not_found(&error) => Ok(false),
        // Another uid under the same name.
        Err(kube::Error::Api(status)) if status.is_invalid() || status.is_conflict() => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::{Claim, claim, reference};
    use corten_client::now;
    use k8s_openapi::{
        api::{apps::v1::ReplicaSet, core::v1::Pod},
        apimachinery::pkg::apis::meta::v1::LabelSelector,
    };
    use serde_json::{Value, json};

    fn owner(uid: &str, deleting: bool) -> ReplicaSet {
        let mut owner = ReplicaSet::default();
        owner.metadata.uid = Some(uid.into());
        owner.metadata.deletion_timestamp = deleting.then(now);
        owner
    }

    fn pod(app: &str, of: Option<&ReplicaSet>, deleting: bool) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.labels = Some([("app".to_owned(), app.to_owned())].into());
        pod.metadata.owner_references = of.map(|owner| vec![reference(owner)]);
        pod.metadata.deletion_timestamp = deleting.then(now);
        pod
    }

    #[test]
    fn objects_are_claimed_by_reference_and_selector() {
        let selector: LabelSelector = serde_json::from_value(json!({"matchLabels": {"app": "web"}})).unwrap();
        let (us, dying, them) = (owner("us", false), owner("us", true), owner("them", false));
        let cases = [
            (&us, pod("web", Some(&us), false), Claim::Keep),
            (&us, pod("web", Some(&us), true), Claim::Keep),
            (&us, pod("db", Some(&us), false), Claim::Release),
            (&us, pod("web", Some(&them), false), Claim::Ignore),
            (&us, pod("web", None, false), Claim::Adopt),
            (&us, pod("web", None, true), Claim::Ignore),
            (&us, pod("db", None, false), Claim::Ignore),
            (&dying, pod("web", None, false), Claim::Ignore),
            (&dying, pod("db", Some(&us), false), Claim::Ignore),
        ];
        for (owner, pod, expected) in cases {
            assert_eq!(claim(owner, &selector, &pod), expected, "{pod:?}");
        }
        let everything = LabelSelector::default();
        assert_eq!(claim(&us, &everything, &pod("web", None, false)), Claim::Ignore);
        let _: Value = serde_json::to_value(reference(&us)).unwrap();
    }
}
