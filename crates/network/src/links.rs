//! The few netlink requests that everything here is made of.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use futures::TryStreamExt;
use ipnet::{IpNet, Ipv4Net};
use netlink_packet_route::link::{InfoData, InfoVeth};
use netlink_packet_route::neighbour::NeighbourState;
use netlink_packet_route::route::{RouteMessage, RouteScope, RouteType};
use rtnetlink::{Error, Handle, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};

/// A hardware address.
pub(crate) type Mac = [u8; 6];

/// Index of a link by name; `None` when there is none.
pub(crate) async fn index(handle: &Handle, name: &str) -> Result<Option<u32>, Error> {
    match handle.link().get().match_name(name.to_owned()).execute().try_next().await {
        Ok(link) => Ok(link.map(|link| link.header.index)),
        Err(error) if is(&error, rustix::io::Errno::NODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Index of a link that must be there.
pub(crate) async fn existing(handle: &Handle, name: &str) -> Result<u32, Error> {
    index(handle, name).await?.ok_or_else(|| Error::InvalidNla(format!("no link named {name}")))
}

/// Brings a link up.
pub(crate) async fn set_up(handle: &Handle, name: &str) -> Result<(), Error> {
    let index = existing(handle, name).await?;
    handle.link().set(LinkUnspec::new_with_index(index).up().build()).execute().await
}

/// A veth pair in one message: our end here and up, the peer straight into another namespace.
pub(crate) async fn add_veth(
    handle: &Handle,
    name: &str,
    peer: &str,
    peer_ns: BorrowedFd<'_>,
    macs: Option<(Mac, Mac)>,
    mtu: u32,
) -> Result<(), Error> {
    let mut far = LinkMessageBuilder::<LinkUnspec>::new().name(peer).mtu(mtu).setns_by_fd(peer_ns.as_raw_fd());
    let mut near = LinkVeth::new(name, peer).mtu(mtu).up();
    if let Some((near_mac, far_mac)) = macs {
        near = near.address(near_mac.to_vec());
        far = far.address(far_mac.to_vec());
    }
    let near = near.set_info_data(InfoData::Veth(InfoVeth::Peer(far.build())));
    handle.link().add(near.build()).execute().await
}

/// Deletes a link; absent is fine.
pub(crate) async fn delete(handle: &Handle, name: &str) -> Result<(), Error> {
    match index(handle, name).await? {
        Some(index) => absent_is_fine(handle.link().del(index).execute().await, rustix::io::Errno::NODEV),
        None => Ok(()),
    }
}

/// Adds an address to a link; present is fine.
pub(crate) async fn add_address(handle: &Handle, link: u32, address: Ipv4Addr, prefix: u8) -> Result<(), Error> {
    handle.address().add(link, address.into(), prefix).replace().execute().await
}

/// A permanent neighbour entry: who answers at `address` on `link` is known, nobody has to ask.
pub(crate) async fn set_neighbour(handle: &Handle, link: u32, address: Ipv4Addr, mac: Mac) -> Result<(), Error> {
    handle.neighbours().add(link, address.into()).state(NeighbourState::Permanent).link_layer_address(&mac).replace().execute().await
}

/// A route to what is directly on the link.
pub(crate) async fn route_to_link(handle: &Handle, to: Ipv4Net, link: u32, source: Option<Ipv4Addr>) -> Result<(), Error> {
    let mut route = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(to.addr(), to.prefix_len())
        .output_interface(link)
        .scope(RouteScope::Link);
    if let Some(source) = source {
        route = route.pref_source(source);
    }
    handle.route().add(route.build()).replace().execute().await
}

/// A route through a gateway.
pub(crate) async fn route_via(handle: &Handle, to: Ipv4Net, gateway: Ipv4Addr, link: Option<u32>) -> Result<(), Error> {
    let mut route = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(to.addr(), to.prefix_len()).gateway(gateway);
    if let Some(link) = link {
        route = route.output_interface(link);
    }
    handle.route().add(route.build()).replace().execute().await
}

/// A route that answers "unreachable": packets for the range that nothing else claims go nowhere.
pub(crate) async fn route_nowhere(handle: &Handle, to: IpNet) -> Result<(), Error> {
    without_family_is_fine(handle.route().add(nowhere(to)).replace().execute().await, to)
}

/// Removes what [`route_nowhere`] added; absent is fine.
pub(crate) async fn delete_nowhere(handle: &Handle, to: IpNet) -> Result<(), Error> {
    let deleted = handle.route().del(nowhere(to)).execute().await;
    without_family_is_fine(absent_is_fine(deleted, rustix::io::Errno::SRCH), to)
}

fn nowhere(to: IpNet) -> RouteMessage {
    match to {
        IpNet::V4(to) => unreachable_by(RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(to.addr(), to.prefix_len())),
        IpNet::V6(to) => unreachable_by(RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(to.addr(), to.prefix_len())),
    }
}

fn unreachable_by<T>(route: RouteMessageBuilder<T>) -> RouteMessage {
    // The weakest metric: any real route of the same length wins.
    route.kind(RouteType::Unreachable).priority(u32::MAX).build()
}

/// A kernel without IPv6 has no routes of that family, and sends nothing by it either.
fn without_family_is_fine(result: Result<(), Error>, range: IpNet) -> Result<(), Error> {
    use rustix::io::Errno;
    match result {
        Err(error) if matches!(range, IpNet::V6(_)) && [Errno::AFNOSUPPORT, Errno::OPNOTSUPP].iter().any(|errno| is(&error, *errno)) => {
            Ok(())
        }
        other => other,
    }
}

/// Removes the route to exactly this range; absent is fine.
pub(crate) async fn delete_route(handle: &Handle, to: Ipv4Net) -> Result<(), Error> {
    // Scope "nowhere" stands for any: routes to links and through gateways have different ones.
    let route = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(to.addr(), to.prefix_len()).scope(RouteScope::NoWhere);
    absent_is_fine(handle.route().del(route.build()).execute().await, rustix::io::Errno::SRCH)
}

/// Whether the kernel answered with this error.
pub(crate) fn is(error: &Error, errno: rustix::io::Errno) -> bool {
    matches!(error, Error::NetlinkError(message) if message.raw_code() == -errno.raw_os_error())
}

fn absent_is_fine(result: Result<(), Error>, absent: rustix::io::Errno) -> Result<(), Error> {
    match result {
        Err(error) if is(&error, absent) => Ok(()),
        other => other,
    }
}
