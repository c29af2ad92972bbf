/** Names of guests: what is read, what is answered, and over real sockets. */
import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { Resolver } from 'node:dns/promises'
import { once } from 'node:events'
import { connect } from 'node:net'
import { test } from 'node:test'
import fc from 'fast-check'
import { silentLog } from '../../driver/index.ts'
import {
  NetworkDefinition,
  type NetworkDefinitionInput,
  parse,
  parseIp,
  VisorError,
} from '../../model/index.ts'
import { completeNetwork } from '../complete.ts'
import type { Port } from '../ports.ts'
import { answer } from './answer.ts'
import { type GuestNames, guestNames } from './guest-names.ts'
import {
  datagramBytes,
  type Labels,
  type Query,
  readQuery,
  recordType,
  words,
  writeName,
  writeReply,
} from './packet.ts'
import { resolveName } from './resolve.ts'
import { reversedAddress, reverseZone } from './reverse.ts'
import { serveNames } from './serve.ts'

const { A, AAAA, ANY, AXFR, PTR, SOA } = recordType

function network(definition: NetworkDefinitionInput) {
  return completeNetwork(parse(NetworkDefinition, definition), new Set())
}
const lab = network({
  name: 'lab',
  forward: {},
  dns: { hosts: [{ address: '10.9.1.77', names: ['Printer', 'paper.printer', 'else.example.org'] }] },
  addresses: [
    { address: '10.9.1.1', prefix: 24, dhcp: { ranges: [{ start: '10.9.1.2', end: '10.9.1.9' }] } },
    { address: 'fd09:1::1', prefix: 64 },
  ],
})
const shared = network({
  name: 'office',
  domain: 'Example.com',
  addresses: [{ address: '10.9.2.1', prefix: 24 }],
  forward: {},
})
const lan = network({ name: 'lan', forward: { mode: 'bridge' }, bridge: 'br0' })
const quiet = network({
  name: 'quiet',
  dns: { enabled: false },
  addresses: [{ address: '10.9.3.1', prefix: 24 }],
})

let number = 0
function port({ uuid, name: on }: typeof lab, name: string, ...addresses: string[]): Port {
  const link = `vnet${number++}`
  return {
    ...{ uuid, network: on, domain: name, name, driver: 'test', link, mac: `52:54:00:00:00:0${number}` },
    ...{ addresses, filterParameters: [], isolated: false },
  }
}

/** Names of these networks; `heard`: of who has no address, by name; `calls`: how often it was asked. */
function namesOf(ports: Port[], heard: Record<string, string[]> = {}, calls: string[][] = []): GuestNames {
  return guestNames({
    networks: () => [lab, shared, lan, quiet],
    ports: (uuid) => ports.filter((one) => one.uuid === uuid),
    listen: async (silent) => {
      calls.push(silent.map(({ name }) => name))
      return silent.map(({ name }) => heard[name] ?? [])
    },
    serverAddress: '127.0.0.83',
  })
}

const usual = () =>
  namesOf(
    [
      port(lab, 'web', '10.9.1.2', 'fd09:1::2'),
      port(lab, 'My_DB', '10.9.1.3'),
      port(shared, 'web', '10.9.2.2'),
      port(lan, 'tv'),
      port(quiet, 'mute', '10.9.3.2'),
    ],
    { tv: ['192.168.7.9', 'fe80::1'] },
  )

/** A question as it comes. */
function ask(
  labels: Labels,
  type: number,
  { flags = 0x0100, kind = 1, tail = [] as Uint8Array[] } = {},
): Buffer {
  const head = words(0x1234, flags, 1, 0, 0, tail.length)
  return Buffer.concat([head, writeName(labels), words(type, kind), ...tail])
}
const edns = (size: number, version = 0) => Buffer.concat([Uint8Array.of(0), words(41, size, version, 0, 0)])

function read(bytes: Uint8Array): Query {
  const query = readQuery(bytes)
  assert.ok(query)
  return query
}

function readLabels(data: Uint8Array): string {
  const [length = 0] = data
  return length === 0
    ? ''
    : `${Buffer.from(data.subarray(1, 1 + length)).toString('latin1')}.${readLabels(data.subarray(1 + length))}`
}

async function say(
  names: GuestNames,
  name: string,
  type: number,
): Promise<{ code: number; own: boolean; data: string[] }> {
  const { code, isOwn, answers } = await answer(read(ask(name.split('.'), type)), names)
  const data = answers.map((one) =>
    one.type === A
      ? [...one.data].join('.')
      : one.type === PTR
        ? readLabels(one.data)
        : `${one.data.length} bytes`,
  )
  return { code, own: isOwn, data }
}

test('guests are found by name and by address, and nobody else is', async () => {
  const names = usual()
  assert.deepEqual(await say(names, 'WEB.lab.Visor', A), { code: 0, own: true, data: ['10.9.1.2'] })
  assert.deepEqual((await say(names, 'my-db.lab.visor', A)).data, ['10.9.1.3'])
  assert.deepEqual((await say(names, 'web.example.com', A)).data, ['10.9.2.2'])
  assert.deepEqual((await say(names, 'host.lab.visor', A)).data, ['10.9.1.1'])
  assert.deepEqual((await say(names, 'printer.lab.visor', A)).data, ['10.9.1.77'])
  assert.deepEqual((await say(names, 'tv.lan.visor', A)).data, ['192.168.7.9'])
  assert.deepEqual((await say(names, 'ns.visor', A)).data, ['127.0.0.83'])
  assert.deepEqual((await say(names, '2.1.9.10.in-addr.arpa', PTR)).data, ['web.lab.visor.'])
  assert.deepEqual((await say(names, '9.7.168.192.in-addr.arpa', PTR)).data, ['tv.lan.visor.'])
  const v6 = parseIp('fd09:1::2')
  assert.ok(v6)
  assert.deepEqual((await say(names, reverseZone({ ...v6, prefix: 128 }), PTR)).data, ['web.lab.visor.'])
  assert.equal((await answer(read(ask(['web', 'lab', 'visor'], AAAA)), names)).answers[0]?.data.at(-1), 2)
  assert.equal((await say(names, 'web.lab.visor', ANY)).data.length, 2)
  assert.equal((await say(names, 'lab.visor', SOA)).data.length, 1)
})

test('what is not there is denied where it is ours to say, and refused elsewhere', async () => {
  const names = usual()
  const rows: readonly (readonly [string, number, number, boolean])[] = [
    // No such name.
    ['nobody.lab.visor', A, 3, true],
    ['a.web.lab.visor', A, 3, true],
    ['nobody.visor', A, 3, true],
    ['mute.quiet.visor', A, 3, true],
    ['9.1.9.10.in-addr.arpa', PTR, 3, true],
    // Such a name, and nothing of the kind.
    ['web.lab.visor', 16, 0, true],
    ['my-db.lab.visor', AAAA, 0, true],
    ['visor', A, 0, true],
    ['lab.visor', A, 0, true],
    ['1.9.10.in-addr.arpa', PTR, 0, true],
    // Somebody else's, or perhaps.
    ['example.org', A, 5, false],
    ['else.example.org', A, 5, false],
    ['nobody.example.com', A, 5, false],
    ['web', A, 5, false],
    ['xvisor', A, 5, false],
    ['1.1.1.1.in-addr.arpa', PTR, 5, false],
    ['9.9.10.in-addr.arpa', PTR, 5, false],
    ['256.1.9.10.in-addr.arpa', PTR, 0, true],
    ['lab.visor', AXFR, 5, false],
  ]
  for (const [name, type, code, own] of rows) {
    const reply = await answer(read(ask(name.split('.'), type)), names)
    assert.deepEqual([reply.code, reply.isOwn, reply.answers], [code, own, []], name)
    // Who keeps that it is not there learns from it for how long (RFC 2308).
    assert.equal(
      reply.authority.some((one) => one.type === SOA),
      own,
      name,
    )
  }
  // A dot within a label is none.
  assert.equal((await answer(read(ask(['web.lab', 'visor'], A)), names)).code, 3)
})

test('who has no address that is kept is listened to, once for all', async () => {
  const calls: string[][] = []
  const names = namesOf(
    [port(lan, 'tv'), port(lan, 'radio'), port(lab, 'web', '10.9.1.2')],
    { tv: ['192.168.7.9'] },
    calls,
  )
  await Promise.all(['tv.lan.visor', 'radio.lan.visor', 'web.lab.visor'].map((name) => say(names, name, A)))
  assert.deepEqual(calls, [['tv', 'radio']])
})

test('a question is read as it is, or said to be malformed', async () => {
  const query = read(ask(['Web', 'lab'], AAAA, { tail: [edns(4096)] }))
  assert.deepEqual(query.question, { labels: ['Web', 'lab'], type: AAAA, class: 1 })
  assert.equal(datagramBytes(query), 1232)
  assert.equal(datagramBytes(read(ask(['web'], A))), 512)
  assert.equal(datagramBytes(read(ask(['web'], A, { tail: [edns(0)] }))), 512)
  const fault = (bytes: Uint8Array) => read(bytes).fault
  const whole = ask(['web'], A, { tail: [edns(512)] })
  assert.equal(fault(whole), undefined)
  assert.equal(fault(ask(['web'], A, { tail: [edns(512, 1)] })), 16)
  assert.equal(fault(ask(['web'], A, { tail: [edns(512), edns(512)] })), 1)
  assert.equal(fault(ask(['web'], A, { flags: 4 << 11 })), 4)
  for (let length = 12; length < whole.length; length++)
    assert.equal(fault(whole.subarray(0, length)), 1, `${length}`)
  // A name that refers to itself.
  assert.equal(fault(Buffer.concat([words(1, 0, 1, 0, 0, 0), words(0xc00c, A, 1)])), 1)
  assert.equal(fault(Buffer.concat([words(1, 0, 2, 0, 0, 0), writeName(['a']), words(A, 1)])), 1)
  assert.equal(readQuery(ask(['web'], A, { flags: 0x8000 })), undefined, 'a reply')
  assert.equal(readQuery(whole.subarray(0, 11)), undefined)
})

const labelsArbitrary = fc.array(
  fc.uint8Array({ minLength: 1, maxLength: 63 }).map((bytes) => String.fromCharCode(...bytes)),
  { maxLength: 3 },
)

test('whatever comes, a reply fits, and has the question as it came', async () => {
  const names = usual()
  const reply = async (bytes: Uint8Array) => {
    const query = readQuery(bytes)
    if (!query) return undefined
    const written = writeReply(query, await answer(query, names), datagramBytes(query))
    assert.ok(written.length <= datagramBytes(query))
    assert.equal(readQuery(written), undefined, 'nobody answers it')
    return written
  }
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 600 }), async (bytes) => void (await reply(bytes))),
  )
  await fc.assert(
    fc.asyncProperty(labelsArbitrary, fc.nat(65_535), fc.nat(65_535), async (labels, type, kind) => {
      const asked = ask(labels, type, { kind, tail: [edns(1232)] })
      const written = await reply(asked)
      assert.deepEqual([...(written?.subarray(0, 2) ?? [])], [0x12, 0x34])
      assert.deepEqual(Buffer.from(written?.subarray(12, asked.length - 11) ?? []), asked.subarray(12, -11))
    }),
  )
  // A sound question with some of it changed.
  const sound = ask(['web', 'lab', 'visor'], A, { tail: [edns(1232)] })
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(sound.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }),
      fc.nat(sound.length),
      async (changes, length) => {
        const bytes = Buffer.from(sound)
        for (const [at, value] of changes) bytes[at] = value
        await reply(bytes)
        await reply(bytes.subarray(0, length))
      },
    ),
  )
})

test('addresses have names, and names addresses', () => {
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (text) => {
      const address = parseIp(text)
      if (!address) return
      const name = reverseZone({ ...address, prefix: address.family === 'ipv4' ? 32 : 128 })
      assert.deepEqual(reversedAddress(name), address)
    }),
  )
  assert.equal(reversedAddress('in-addr.arpa'), undefined)
  assert.equal(reversedAddress('01.1.1.1.in-addr.arpa'), undefined)
})

test('real resolvers are answered, by UDP and TCP', async () => {
  const many = Array.from({ length: 60 }, (_, index) => port(lab, 'many', `10.9.1.${index + 100}`))
  const server = await serveNames(
    { address: '127.0.0.1', port: 0, names: namesOf([port(lab, 'web', '10.9.1.2'), ...many]) },
    silentLog,
  )
  try {
    const resolver = new Resolver()
    resolver.setServers([`127.0.0.1:${server.port}`])
    assert.deepEqual(await resolver.resolve4('web.lab.visor'), ['10.9.1.2'])
    assert.deepEqual(await resolver.reverse('10.9.1.2'), ['web.lab.visor'])
    // Too many for a datagram: it asks again by TCP.
    assert.equal((await resolver.resolve4('many.lab.visor')).length, 60)
    await assert.rejects(resolver.resolve4('nobody.lab.visor'), { code: 'ENOTFOUND' })
    await assert.rejects(resolver.resolve6('web.lab.visor'), { code: 'ENODATA' })
    await assert.rejects(resolver.resolve4('example.org'), { code: 'EREFUSED' })
    assert.equal((await resolver.resolveSoa('lab.visor')).nsname, 'ns.visor')

    // Two questions in one piece, and nothing after them; then what is no question.
    const asked = ask(['web', 'lab', 'visor'], A)
    const frame = Buffer.concat([words(asked.length), asked])
    const talk = async (bytes: Buffer) => {
      const socket = connect(server.port, '127.0.0.1')
      socket.end(bytes)
      return Buffer.concat(await Array.fromAsync(socket))
    }
    assert.equal((await talk(Buffer.concat([frame, frame]))).length, 2 * (frame.length + 16))
    assert.equal((await talk(Buffer.from([0, 3, 1, 2, 3]))).length, 0)

    // Nobody else gets the place, and who asks nonsense does no harm.
    const { port: taken } = server
    await assert.rejects(serveNames({ address: '127.0.0.1', port: taken, names: usual() }, silentLog), {
      code: 'EADDRINUSE',
    })
    const noise = createSocket('udp4')
    for (const bytes of [Buffer.alloc(0), Buffer.alloc(11), Buffer.alloc(1000, 255)])
      await new Promise((resolve) => noise.send(bytes, taken, '127.0.0.1', resolve))
    noise.close()
    await once(noise, 'close')
    assert.deepEqual(await resolver.resolve4('web.lab.visor'), ['10.9.1.2'])
  } finally {
    await server.close()
  }
})

test('people are told what is near, and why nobody has a name', async () => {
  const names = usual()
  const known = [
    { definition: lab, active: true, kept: new Map([['old', ['10.9.1.5']]]) },
    { definition: network({ name: 'off' }), active: false, kept: new Map([['sleeper', ['10.8.0.2']]]) },
  ]
  const resolve = (name: string) => resolveName(name, names, () => known)
  assert.deepEqual(
    (await resolve('web')).map(({ name, network: on, guest, addresses }) => [name, on, guest, addresses]),
    [
      ['web.lab.visor', 'lab', 'web', ['10.9.1.2', 'fd09:1::2']],
      ['web.example.com', 'office', 'web', ['10.9.2.2']],
    ],
  )
  assert.deepEqual(
    (await resolve('WEB.lab.visor.')).map(({ name }) => name),
    ['web.lab.visor'],
  )
  assert.deepEqual(
    (await resolve('10.9.1.1')).map(({ name }) => name),
    ['host.lab.visor'],
  )
  const refused = async (name: string, code: string, text: RegExp) =>
    assert.rejects(resolve(name), (error) => {
      assert.ok(error instanceof VisorError)
      assert.equal(error.code, code)
      assert.match(`${error.message} ${error.remedy}`, text)
      return true
    })
  await refused('wbe.lab.visor', 'not-found', /mean 'web\.lab\.visor'/u)
  await refused('wbe', 'not-found', /mean 'web'/u)
  await refused('old', 'not-found', /'old' is not on network 'lab' now.*visor start old/u)
  await refused('sleeper.off.visor', 'not-found', /network 'off' is not active.*visor network start off/u)
  await refused('www.debian.org', 'not-found', /domains lab\.visor, example\.com, lan\.visor/u)
  await refused('10.7.7.7', 'not-found', /address 10\.7\.7\.7.*visor network list/u)
  await assert.rejects(
    resolveName('tv', namesOf([port(lan, 'tv')]), () => []),
    { code: 'invalid-state', remedy: /visor wait tv --for ip/u },
  )
})
