/** What a definition of a network may set; all else is refused when it is defined. See `checkHonoured`. */
const dns = ['enabled', 'forwardPlainNames', 'forwarders.*', 'texts.*', 'hosts.*', 'services.*']
const address = ['family', 'address', 'netmask', 'prefix', 'localPointers', 'tftp.*', 'dhcp.*', 'dhcp']

// What guests send beyond their rate is lost: there is no peak of its own. Nothing is kept free for a floor.
const rates = ['inbound.average', 'inbound.peak', 'inbound.burst', 'outbound.average', 'outbound.burst']

export const honouredNetwork: readonly string[] = [
  'ipv6',
  'trustGuestRxFilters',
  'forward.mode=nat|route|open|bridge|private|vepa|passthrough|internal|vxlan',
  ...['forward.dev', 'forward.nat.*', 'forward.nat', 'forward.links.*', 'forward.links'],
  ...['bridge', 'stp', 'forwardDelaySeconds', 'macTable=kernel', 'mtu', 'mac'],
  ...['domain', 'domainLocalOnly', 'dns'],
  ...dns.map((field) => `dns.${field}`),
  ...dns.map((field) => `dns.${field.replace('.*', '')}`),
  'isolated',
  ...['bandwidth', 'bandwidth.inbound', 'bandwidth.outbound'],
  ...rates.map((rate) => `bandwidth.${rate}`),
  'addresses',
  ...address.map((field) => `addresses[].${field}`),
  ...['routes', 'routes[].*', 'vxlan', 'vxlan.*'],
  ...['portGroups', 'portGroups[].name', 'portGroups[].default', 'portGroups[].isolated'],
  ...['portGroups[].bandwidth', 'portGroups[].bandwidth.inbound', 'portGroups[].bandwidth.outbound'],
  ...rates.map((rate) => `portGroups[].bandwidth.${rate}`),
]
