/** What a definition of a network may set; all else is refused when it is defined. See `checkHonoured`. */
const dns = ['enabled', 'forwardPlainNames', 'forwarders.*', 'texts.*', 'hosts.*', 'services.*']
const address = ['family', 'address', 'netmask', 'prefix', 'localPointers', 'tftp.*', 'dhcp.*', 'dhcp']

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
  'addresses',
  ...address.map((field) => `addresses[].${field}`),
  ...['routes', 'routes[].*', 'vxlan', 'vxlan.*'],
  ...['portGroups', 'portGroups[].name', 'portGroups[].default', 'portGroups[].isolated'],
]
