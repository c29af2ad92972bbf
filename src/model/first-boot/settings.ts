/**
 * What a guest is told at its first boot, by cloud-init (NoCloud) or Ignition.
 *
 * Sources: cloud-init's "Module reference", "NoCloud" and "Networking config Version 2"; Ignition's "Configuration
 * Specification v3".
 */
import { aHostName, aMac, anAddress } from '../network/words.ts'
import * as s from '../schema.ts'

/** Most characters of a text that is given as it is. */
export const mostFirstBootText = 524_288

const aKey = {
  maxLength: 16_384,
  pattern:
    /^(?:ssh-(?:ed25519|rsa|dss)|ecdsa-sha2-nistp(?:256|384|521)|sk-(?:ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com) AAAA[A-Za-z0-9+/]{40,}={0,3}(?: [^\p{Cc}]*)?$/u,
  patternName: "a public key of OpenSSH: 'ssh-ed25519 AAAA... name'",
} as const
const aPasswordHash = {
  optional: true,
  maxLength: 512,
  pattern: /^\$(?:5|6|y|2[aby])\$[^\s:\p{Cc}]{20,}$/u,
  patternName: "a hash of crypt(5), such as '$6$...'; the password itself is never given",
} as const
const aUser = {
  pattern: /^[a-z_][a-z0-9_-]{0,31}$/u,
  patternName: 'the name of a user: lower-case letters, digits, _ and -',
} as const
const aPath = {
  maxLength: 4096,
  pattern: /^\/[^\p{Cc}]*[^/\p{Cc}]$/u,
  patternName: 'an absolute path of a file',
} as const
const aSubnet = {
  pattern: /^(?:\d{1,3}(?:\.\d{1,3}){3}\/\d{1,2}|[0-9a-fA-F:]*:[0-9a-fA-F:.]*\/\d{1,3})$/u,
  patternName: "an address with its prefix: '192.0.2.5/24'",
} as const
const oneLine = { maxLength: 1024, pattern: /^[^\p{Cc}]+$/u, patternName: 'one line of text' } as const
const anyText = { optional: true, maxLength: mostFirstBootText } as const
const sshKeys = <const D extends string>(doc: D) =>
  s.array(doc, s.string('key', aKey), { default: [], maxItems: 64 })

const User = s.object('FirstBootUser', 'A user of the guest', {
  name: s.string('name', aUser),
  sshKeys: sshKeys('public keys that log in'),
  passwordHash: s.string('hash of the password, as crypt(5) makes it; no password without it', aPasswordHash),
  sudo: s.boolean('whether it may become root without a password', { default: true }),
  groups: s.array('further groups', s.string('group', aUser), { default: [], maxItems: 64 }),
  shell: s.string("login shell; the system's own without it", { optional: true, ...aPath }),
})

const File = s.object('FirstBootFile', 'A file that is written', {
  path: s.string('where', aPath),
  content: s.string('text', { maxLength: mostFirstBootText }),
  permissions: s.string('mode, octal', {
    default: '0644',
    pattern: /^[0-7]{3,4}$/u,
    patternName: "a mode such as '0644'",
  }),
  owner: s.string('user, or user:group', {
    optional: true,
    pattern: /^[a-z_][a-z0-9_-]{0,31}(?::[a-z_][a-z0-9_-]{0,31})?$/u,
    patternName: "a user, or 'user:group'",
  }),
})

const Route = s.object('FirstBootRoute', 'A route', {
  to: s.string('network', aSubnet),
  via: s.string('gateway', anAddress),
  metric: s.integer('order; the lowest goes first', { optional: true, min: 0, max: 4_294_967_295 }),
})

const Card = s.object('FirstBootCard', 'Addresses of a network card', {
  mac: s.string('hardware address of the card', { ...aMac, normalize: 'mac' }),
  addresses: s.array('its addresses; it asks DHCP without any', s.string('address', aSubnet), {
    default: [],
    maxItems: 64,
  }),
  gateways: s.array('where to for all else, one of each family', s.string('address', anAddress), {
    default: [],
    maxItems: 2,
  }),
  routes: s.array('further routes', Route, { default: [], maxItems: 256 }),
  nameservers: s.array('DNS servers', s.string('address', anAddress), { default: [], maxItems: 16 }),
  searchDomains: s.array('domains in which short names are looked up', s.string('domain', aHostName), {
    default: [],
    maxItems: 16,
  }),
  mtu: s.integer('largest packet in bytes', { optional: true, min: 576, max: 65_535 }),
})

export const FirstBoot = s.object('FirstBoot', 'What a guest is told at its first boot', {
  instanceId: s.string(
    "identity of the machine, best its uuid; with another one the guest does the first boot's work again",
    {
      optional: true,
      pattern: /^[\w.-]{1,64}$/u,
      patternName: 'letters, digits, _ . and -',
    },
  ),
  hostname: s.string('host name', { optional: true, ...aHostName }),
  sshKeys: sshKeys("public keys that log in as the image's own user"),
  passwordHash: s.string("hash of the password of the image's own user", aPasswordHash),
  users: s.array("users; the image's own is there, too, when something is said of it", User, {
    default: [],
    maxItems: 64,
    key: ['name'],
  }),
  packages: s.array('packages to install', s.string('name', oneLine), { default: [], maxItems: 1000 }),
  files: s.array('files to write', File, { default: [], maxItems: 256, key: ['path'] }),
  commands: s.array(
    'commands of a shell, run as root at the end',
    s.string('command', { minLength: 1, maxLength: 65_536 }),
    { default: [], maxItems: 256 },
  ),
  timezone: s.string('time zone', {
    optional: true,
    pattern: /^[A-Za-z][\w+-]*(?:\/[\w+-]+){0,2}$/u,
    patternName: "a time zone such as 'Europe/Vienna'",
  }),
  locale: s.string('language and its encoding', {
    optional: true,
    pattern: /^[A-Za-z][\w.@-]{0,63}$/u,
    patternName: "a locale such as 'de_AT.UTF-8'",
  }),
  cards: s.array('network cards that do not all ask DHCP', Card, {
    default: [],
    maxItems: 64,
    key: ['mac'],
  }),
  userData: s.string("cloud-init's user-data as it is", anyText),
  metaData: s.string("cloud-init's meta-data, YAML; the identity is added", anyText),
  networkConfig: s.string("cloud-init's network-config as it is, instead of cards", anyText),
  ignition: s.string("Ignition's configuration, JSON, instead of all others", anyText),
})
export type FirstBoot = s.Output<typeof FirstBoot>
export type FirstBootInput = s.Input<typeof FirstBoot>
