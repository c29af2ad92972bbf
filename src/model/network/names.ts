/** What a network answers to questions for names. Source: libvirt's "Network XML format", dnsmasq(8). */
import { unknown } from '../domain-words.ts'
import * as s from '../schema.ts'
import { aHostName, anAddress, aPlainText, port, yesNo } from './words.ts'

const Forwarder = s.object('DnsForwarder', 'Who is asked what is not known here', {
  domain: s.string('only for names below this; all when absent', {
    xml: '@domain',
    optional: true,
    ...aHostName,
  }),
  address: s.string('who is asked; nobody when absent', { xml: '@addr', optional: true, ...anAddress }),
  unknown,
})

const Text = s.object('DnsText', 'A text record', {
  name: s.string('name', { xml: '@name', ...aHostName }),
  value: s.string('text', { xml: '@value', ...aPlainText, maxLength: 255 }),
  unknown,
})

const HostNames = s.object('DnsHost', 'Names of an address', {
  address: s.string('address', { xml: '@ip', ...anAddress }),
  names: s.array('its names', s.string('name', { xml: '.', ...aHostName }), {
    xml: 'hostname',
    default: [],
    maxItems: 100,
  }),
  unknown,
})

const ServiceRecord = s.object('DnsService', 'A service record (RFC 2782)', {
  service: s.string('service', {
    xml: '@service',
    pattern: /^[a-zA-Z0-9_-]{1,15}$/u,
    patternName: 'a service',
  }),
  protocol: s.string('protocol', {
    xml: '@protocol',
    pattern: /^[a-zA-Z0-9_-]{1,15}$/u,
    patternName: 'a protocol',
  }),
  domain: s.string('domain it is of', { xml: '@domain', optional: true, ...aHostName }),
  target: s.string('host that offers it', { xml: '@target', optional: true, ...aHostName }),
  port: port('its port there', '@port'),
  priority: s.integer('order', { xml: '@priority', optional: true, min: 0, max: 65_535 }),
  weight: s.integer('share among those of one order', {
    xml: '@weight',
    optional: true,
    min: 0,
    max: 65_535,
  }),
  unknown,
})

export const NetworkDns = s.object(
  'NetworkDns',
  'What is answered to questions for names',
  {
    enabled: yesNo('whether anything is answered', '@enable'),
    forwardPlainNames: yesNo('ask others for names without a dot too', '@forwardPlainNames'),
    forwarders: s.array('who is asked what is not known here', Forwarder, {
      xml: 'forwarder',
      default: [],
      maxItems: 64,
    }),
    texts: s.array('text records', Text, { xml: 'txt', default: [], maxItems: 1000 }),
    services: s.array('service records', ServiceRecord, { xml: 'srv', default: [], maxItems: 1000 }),
    hosts: s.array('names of addresses', HostNames, { xml: 'host', default: [], maxItems: 10_000 }),
    unknown,
  },
  // As libvirt prints them.
  { order: { '.': ['@enable', '@forwardPlainNames', 'forwarder', 'txt', 'srv', 'host'] } },
)
