import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import { findProgram, run } from '../../host/index.ts'
import { FirstBoot, type FirstBootInput, parse, VisorError } from '../../model/index.ts'
import { openForTest } from '../testing/open-for-test.ts'
import { type IsoFile, writeIso } from './iso9660.ts'
import { readIso } from './read-iso.ts'
import { copySeed, makeSeed } from './seed.ts'

const labels = { volume: 'cidata', application: 'TEST' }
const key = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ann@home'
const missing = async (program: string) => !(await findProgram(program)) && `${program} is not installed`
const noBsdtar = await missing('bsdtar')
const noIsoinfo = await missing('isoinfo')
const noCloudInit = await missing('cloud-init')

let folder = ''
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'visor-test-seed-'))
})
after(() => rm(folder, { recursive: true, force: true }))

/** What a program prints about an image, which it must find sound. */
async function ask(image: Uint8Array, program: string, ...args: readonly string[]): Promise<string> {
  const path = join(folder, `${crypto.randomUUID()}.iso`)
  await writeFile(path, image)
  const { code, stdout, stderr } = await run(
    program,
    args.map((one) => (one === 'IMAGE' ? path : one)),
  )
  await rm(path)
  assert.equal(code, 0, stderr)
  return stdout
}

const aName = fc.stringMatching(/^[a-zA-Z0-9_.+-]{1,64}$/u).filter((name) => name !== '.' && name !== '..')
const aContent = fc.oneof(
  fc.uint8Array({ maxLength: 64 }),
  fc.constantFrom(2047, 2048, 2049, 4096, 70_000).map((length) => new Uint8Array(length).fill(length)),
)
const someFiles = fc.uniqueArray(fc.record({ name: aName, content: aContent }), {
  selector: ({ name }) => name,
  maxLength: 64,
})

test('what is written is read again, the same bytes each time', () => {
  fc.assert(
    fc.property(someFiles, (files) => {
      const image = writeIso(files, labels)
      assert.equal(image.length % 65_536, 0)
      assert.deepEqual(writeIso(files, labels), image)
      const found = readIso(image, labels)?.map(({ name, content }) => [name, Buffer.from(content)])
      const wanted = files.map(({ name, content }) => [name, Buffer.from(content)])
      assert.deepEqual(found?.sort(), wanted.sort())
      assert.equal(readIso(image, { ...labels, volume: 'other' }), undefined)
    }),
    { numRuns: 50 },
  )
})

test('bsdtar reads all names and contents', { skip: noBsdtar }, async () => {
  await fc.assert(
    fc.asyncProperty(someFiles, async (files) => {
      const image = writeIso(files, labels)
      const listed = (await ask(image, 'bsdtar', 'tf', 'IMAGE'))
        .split('\n')
        .filter((one) => one !== '' && one !== '.')
      assert.deepEqual(listed.sort(), files.map(({ name }) => name).sort())
      const [first] = files
      if (first?.name.startsWith('-') === false)
        assert.equal(
          await ask(image, 'bsdtar', 'xOf', 'IMAGE', '--include', first.name.replace(/[[\]*?\\]/gu, '\\$&')),
          Buffer.from(first.content).toString(),
        )
    }),
    { numRuns: 15 },
  )
})

test('isoinfo reads the label, and the names of all three kinds', {
  skip: noIsoinfo,
}, async () => {
  const files = Array.from({ length: 60 }, (_, index) => ({
    name: `a-long-name-that-fills-sectors-${index}`,
    content: Buffer.from(`${index}`),
  }))
  const image = writeIso(files, labels)
  const facts = await ask(image, 'isoinfo', '-d', '-i', 'IMAGE')
  assert.match(
    facts,
    /Volume id: cidata\n.*Joliet with UCS level 3 found\nRock Ridge signatures version 1 found/su,
  )
  for (const [flag, end] of [
    ['-R', ''],
    ['-J', ';1'],
  ] as const) {
    const names = (await ask(image, 'isoinfo', flag, '-f', '-i', 'IMAGE')).trim().split('\n')
    assert.deepEqual(names.sort(), files.map(({ name }) => `/${name}${end}`).sort())
  }
  assert.equal((await ask(image, 'isoinfo', '-f', '-i', 'IMAGE')).trim().split('\n').length, 60)
  assert.equal(
    await ask(image, 'isoinfo', '-R', '-x', '/a-long-name-that-fills-sectors-42', '-i', 'IMAGE'),
    '42',
  )
})

test('names and sizes that cannot be are refused', () => {
  const one = (name: string, length = 0): IsoFile => ({ name, content: new Uint8Array(length) })
  for (const name of ['', '.', '..', 'a/b', 'a b', 'ä', 'a;1', 'x'.repeat(65)])
    assert.throws(() => writeIso([one(name)], labels), RangeError)
  assert.throws(() => writeIso([one('a'), one('a')], labels), RangeError)
  assert.throws(() => writeIso([one('a', 9 * 2 ** 20)], labels), RangeError)
  const many = Array.from({ length: 65 }, (_, index) => one(`a${index}`))
  assert.throws(() => writeIso(many, labels), RangeError)
})

test('what only looks like such a volume is none, and never read beyond its end', () => {
  const image = writeIso([{ name: 'meta-data', content: Buffer.from('a: 1\n') }], labels)
  const change = fc.record({ at: fc.nat({ max: image.length - 1 }), value: fc.nat({ max: 255 }) })
  const nearby = fc.record({
    at: fc.integer({ min: 17 * 2048, max: 26 * 2048 }),
    value: fc.nat({ max: 255 }),
  })
  fc.assert(
    fc.property(
      fc.array(fc.oneof(change, nearby), { maxLength: 20 }),
      fc.nat({ max: image.length }),
      (all, end) => {
        const broken = Buffer.from(image)
        for (const { at, value } of all) broken[at] = value
        readIso(broken.subarray(0, end), labels)
        for (const { content } of readIso(broken, labels) ?? []) assert.ok(content.length <= image.length)
      },
    ),
    { numRuns: 2000 },
  )
})

const settings: FirstBootInput = {
  instanceId: 'b4b1e2f0-0000-4000-8000-000000000001',
  hostname: 'web',
  sshKeys: [key],
  passwordHash: `$6$saltsalt$${'x'.repeat(86)}`,
  users: [{ name: 'ann', sshKeys: [key], groups: ['adm'], shell: '/bin/bash' }],
  packages: ['nginx'],
  files: [{ path: '/etc/motd', content: 'hello: ü\n' }],
  commands: ['echo "hello" > /root/x'],
  timezone: 'Europe/Vienna',
  locale: 'de_AT.UTF-8',
  cards: [
    {
      mac: '52:54:00:00:00:01',
      addresses: ['192.0.2.5/24', '2001:db8::5/64'],
      gateways: ['192.0.2.1', '2001:db8::1'],
      nameservers: ['192.0.2.53'],
    },
    { mac: '52:54:00:00:00:02' },
  ],
}

async function extract(image: Uint8Array, name: string): Promise<string> {
  const path = join(folder, `${crypto.randomUUID()}-${name}`)
  const found = readIso(Buffer.from(image), { volume: 'cidata', application: 'VISOR FIRST BOOT' })
  await writeFile(path, found?.find((one) => one.name === name)?.content ?? '')
  return path
}

test('cloud-init finds what is written right', { skip: noCloudInit }, async () => {
  const { content } = makeSeed(parse(FirstBoot, settings))
  const userData = await extract(content, 'user-data')
  const checked = await run('cloud-init', ['schema', '--config-file', userData])
  assert.equal(checked.code, 0, checked.stdout + checked.stderr)
  assert.match(checked.stdout, /Valid/u)
  const networkConfig = await extract(content, 'network-config')
  // What it makes of it for each kind of system, as at a first boot.
  for (const [kind, distro, wanted] of [
    [
      'eni',
      'debian',
      [/address 192\.0\.2\.5\/24/u, /gateway 192\.0\.2\.1\n/u, /gateway 2001:db8::1\n/u, /eth1 inet dhcp/u],
    ],
    ['netplan', 'ubuntu', [/gateway4: 192\.0\.2\.1\n/u, /gateway6: 2001:db8::1\n/u, /dhcp4: true/u]],
    ['networkd', 'ubuntu', [/Gateway=192\.0\.2\.1\n/u, /Gateway=2001:db8::1\n/u, /DHCP=(?:ipv4|yes)/u]],
    ['sysconfig', 'fedora', [/GATEWAY=192\.0\.2\.1\n/u, /IPV6_DEFAULTGW=2001:db8::1\n/u, /BOOTPROTO=dhcp/u]],
  ] as const) {
    const made = join(folder, kind)
    const converted = await run('cloud-init', [
      ...['devel', 'net-convert', '--network-data', networkConfig, '--kind', 'yaml', '--distro', distro],
      ...['--output-kind', kind, '--directory', made],
      ...['--mac', 'eth0,52:54:00:00:00:01', '--mac', 'eth1,52:54:00:00:00:02'],
    ])
    assert.equal(converted.code, 0, converted.stderr)
    const files = (await readdir(made, { recursive: true, withFileTypes: true })).filter((one) =>
      one.isFile(),
    )
    const texts = await Promise.all(files.map((one) => readFile(join(one.parentPath, one.name), 'utf8')))
    for (const one of wanted) assert.match(texts.join('\n'), one, kind)
  }
})

test('a seed is a volume that only its owner reads, and a copy of it another identity', async (t) => {
  const storage = await openForTest()
  t.after(storage.close)
  const { volumes } = storage.connection
  const made = await volumes.create('default', { name: 'web-seed.iso', firstBoot: settings })
  assert.deepEqual([made.format, made.capacityBytes], ['iso', (await stat(made.path)).size])
  assert.equal((await stat(made.path)).mode & 0o777, 0o600)
  const changes = { instanceId: 'x-2', hostname: { from: 'web', to: 'db' }, macs: new Map<string, string>() }
  const copy = await copySeed(made.path, changes)
  const metaData = await readFile(await extract(copy ?? new Uint8Array(), 'meta-data'), 'utf8')
  assert.equal(metaData, 'instance-id: x-2\nlocal-hostname: db\n')
  const text = '{"ignition":{"version":"3.4.0"}}'
  const ignition = await volumes.create('default', { name: 'core.raw', firstBoot: { ignition: text } })
  assert.equal(await readFile(ignition.path, 'utf8'), text)
  assert.equal(await copySeed(ignition.path, changes), undefined)
  const code = (wanted: string) => (error: unknown) => error instanceof VisorError && error.code === wanted
  const before = await readdir(join(storage.folder, 'state/volumes'))
  for (const [wanted, options] of [
    ['already-exists', { name: 'web-seed.iso', firstBoot: settings }],
    ['invalid-argument', { name: 'a.iso', firstBoot: { hostname: 'web' } }],
    ['invalid-argument', { name: 'a.iso', firstBoot: { ...settings, userData: 'nothing' } }],
    ['invalid-argument', { name: 'a.iso', firstBoot: settings, capacityBytes: 1 }],
    ['invalid-argument', { name: '../a.iso', firstBoot: settings }],
  ] as const)
    await assert.rejects(
      volumes.create('default', options),
      code(wanted),
      JSON.stringify(options).slice(0, 60),
    )
  assert.deepEqual(await readdir(join(storage.folder, 'state/volumes')), before)
})
