/** Whatever a definition says, it says it as a value: nothing of it is another line or word for dnsmasq, ip or nft. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  checkNetworkDefinition,
  NetworkDefinition,
  type NetworkDefinitionInput,
  parse,
  VisorError,
} from '../model/index.ts'
import { completeNetwork } from './complete.ts'
import { formatConfig, formatDhcpHost } from './dnsmasq-config.ts'
import { networkPlaces } from './places.ts'
import { formatRules } from './rules.ts'

const whole: NetworkDefinitionInput = {
  name: 'lab',
  forward: { mode: 'nat', dev: 'eth0', nat: { addressStart: '192.0.2.1', addressEnd: '192.0.2.2' } },
  bridge: 'br7',
  domain: 'lab.example',
  dns: {
    forwarders: [{ domain: 'example.org', address: '192.0.2.53' }],
    texts: [{ name: 'about', value: 'a lab' }],
    services: [{ service: 'sip', protocol: 'tcp', domain: 'example.org', target: 'web', port: 5060 }],
    hosts: [{ address: '10.1.0.9', names: ['printer'] }],
  },
  addresses: [
    {
      address: '10.1.0.1',
      netmask: '255.255.255.0',
      tftp: { root: '/srv/tftp' },
      dhcp: {
        ranges: [{ start: '10.1.0.10', end: '10.1.0.20' }],
        hosts: [{ mac: '52:54:00:00:00:01', name: 'web', address: '10.1.0.2', id: '00:01' }],
        bootServers: [{ file: 'pxelinux.0', server: '10.1.0.1' }],
      },
    },
  ],
  routes: [{ address: '10.2.0.0', prefix: 16, gateway: '10.1.0.2' }],
}

/** Where texts are in it. */
function pathsOf(value: unknown, path: readonly (string | number)[] = []): (string | number)[][] {
  if (typeof value === 'string') return [[...path]]
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, inner]) =>
    pathsOf(inner, [...path, Array.isArray(value) ? Number(key) : key]),
  )
}

function withText(value: unknown, [key, ...rest]: readonly (string | number)[], text: string): unknown {
  if (key === undefined) return text
  const copy = (Array.isArray(value) ? [...value] : { ...(value as object) }) as Record<
    string | number,
    unknown
  >
  copy[key] = withText(copy[key], rest, text)
  return copy
}

const places = networkPlaces('/var/lib/visor', '/run/visor').of('u')

/** All that is written of it; undefined when it is refused. */
function writtenOf(given: unknown) {
  try {
    const definition = parse(NetworkDefinition, given)
    checkNetworkDefinition(definition)
    const complete = completeNetwork(definition, new Set())
    return {
      config: formatConfig(complete, places, { link: complete.bridge ?? '', user: 'nobody' }),
      hosts: complete.addresses.flatMap(({ dhcp }) => dhcp?.hosts ?? []).map(formatDhcpHost),
      rules: formatRules('visor', [{ definition: complete, ports: [] }]),
    }
  } catch (error) {
    assert.ok(error instanceof VisorError, String(error))
    return undefined
  }
}

/** What it is made of but for what is in values: the same for every text that is taken. */
const shapeOfRules = (text: string) =>
  text.split('\n').map((line) => [line.split(' ').length, (line.match(/[,;{}"#\\]/gu) ?? []).join('')])
const shapeOfConfig = (text: string) =>
  text.split('\n').map((line) => [line.split('=')[0], (line.match(/[,"#\\]/gu) ?? []).join('')])

const nasty = fc.oneof(
  fc.constantFrom(
    ...[
      'a\nconf-script=/bin/sh',
      'a,b',
      'a#b',
      'a #b',
      '"',
      'a"b',
      '\\',
      'a\\',
      '\0',
      'a b',
      '*',
      'br*',
      '-x',
    ],
    ...[
      'x"}drop;#',
      'a;b',
      '{',
      '$a',
      '@a',
      '`a`',
      '%d',
      'a\rb',
      'a\u2028b',
      'é',
      '',
      '.',
      '..',
      '0',
      '::',
      '1.2.3',
    ],
    ...['/a,b', '/a\nb', '/a#b', '/a"b', 'a'.repeat(16), 'a'.repeat(5000), '1.2.3.4,5.6.7.8', 'fe80::1%eth0'],
  ),
  fc.string({ maxLength: 20 }),
  fc.string({ unit: 'binary', maxLength: 12 }),
)

test('no text of a definition is anything but a value', () => {
  const usual = writtenOf(whole)
  assert.ok(usual)
  const paths = pathsOf(whole)
  assert.ok(paths.length > 25)
  let taken = 0
  fc.assert(
    fc.property(fc.constantFrom(...paths), nasty, (path, text) => {
      const written = writtenOf(withText(whole, path, text))
      if (!written) return
      taken++
      const where = path.join('.')
      // What names a kind of thing changes what is written, and is one of few words.
      if (/mode$/u.test(where)) return
      const isQuoted = where.includes('texts')
      for (const line of written.config.split('\n'))
        assert.match(line, /^(?:[a-z-]+(?:=[^\p{Cc}]*)?)?$/u, where)
      if (!isQuoted && text !== '')
        assert.deepEqual(shapeOfConfig(written.config), shapeOfConfig(usual.config), where)
      assert.deepEqual(
        written.hosts.map((line) => [line.includes('\n'), line.split(',').length]),
        usual.hosts.map((line) => [line.includes('\n'), line.split(',').length]),
        where,
      )
      assert.deepEqual(shapeOfRules(written.rules), shapeOfRules(usual.rules), where)
    }),
    { numRuns: 3000 },
  )
  assert.ok(taken > 100, `${taken} were taken`)
})
