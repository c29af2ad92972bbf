import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import { run, runChecked } from '../../host/index.ts'
import { VisorError } from '../../model/index.ts'
import { formatOvf } from './format-ovf.ts'
import { manifestLine, parseManifest } from './manifest.ts'
import { openAppliance } from './open-appliance.ts'
import { parseOvf } from './ovf.ts'
import { blockBytes, isPlainName, listTar, tarHeader } from './tar.ts'

const call = { signal: new AbortController().signal, progress: () => {} }
const code = (wanted: string) => (error: unknown) => error instanceof VisorError && error.code === wanted
const bytesOf = (bytes: Buffer) => ({
  read: async (buffer: Buffer, offset: number, length: number, position: number) => ({
    bytesRead: bytes.subarray(position, position + length).copy(buffer, offset),
  }),
})
const list = (bytes: Buffer) => listTar(bytesOf(bytes), bytes.length, 'x.ova')

function tar(files: Readonly<Record<string, Buffer | string>>): Buffer {
  const parts = Object.entries(files).flatMap(([name, content]) => {
    const bytes = Buffer.from(content)
    return [
      tarHeader(name, bytes.length),
      bytes,
      Buffer.alloc((blockBytes - (bytes.length % blockBytes)) % blockBytes),
    ]
  })
  return Buffer.concat([...parts, Buffer.alloc(2 * blockBytes)])
}

/** With its sum made right again. */
function changed(header: Buffer, change: (header: Buffer) => void): Buffer {
  const copy = Buffer.from(header)
  change(copy)
  copy.fill(' ', 148, 156)
  copy.write(
    `${copy
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, '0')}\0 `,
    148,
    'latin1',
  )
  return copy
}

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'visor-test-ova-'))
  t.after(() => rm(path, { recursive: true, force: true }))
  return path
}

/** As VMware writes it. */
const vmware = `<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:rasd="r" xmlns:vmw="v">
  <References><File ovf:href="web-disk1.vmdk" ovf:id="file1" ovf:size="3"/></References>
  <DiskSection><Info/>
    <Disk ovf:capacity="8" ovf:capacityAllocationUnits="byte * 2^30" ovf:diskId="vmdisk1" ovf:fileRef="file1" ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
    <Disk ovf:capacity="1048576" ovf:diskId="empty" ovf:format="x"/>
  </DiskSection>
  <NetworkSection><Info/><Network ovf:name="VM Network"/></NetworkSection>
  <VirtualSystem ovf:id="web">
    <Info/><Name>Web server</Name>
    <VirtualHardwareSection><Info/>
      <Item><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>2</rasd:VirtualQuantity></Item>
      <Item><rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits><rasd:InstanceID>2</rasd:InstanceID><rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>2048</rasd:VirtualQuantity></Item>
      <Item><rasd:InstanceID>3</rasd:InstanceID><rasd:ResourceSubType>VirtualSCSI</rasd:ResourceSubType><rasd:ResourceType>6</rasd:ResourceType></Item>
      <Item><rasd:ElementName>CD/DVD drive 1</rasd:ElementName><rasd:InstanceID>4</rasd:InstanceID><rasd:ResourceType>15</rasd:ResourceType></Item>
      <Item><rasd:HostResource>ovf:/disk/vmdisk1</rasd:HostResource><rasd:InstanceID>5</rasd:InstanceID><rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>
      <Item><rasd:HostResource>/disk/empty</rasd:HostResource><rasd:InstanceID>6</rasd:InstanceID><rasd:ResourceType>17</rasd:ResourceType></Item>
      <Item><rasd:Connection>VM Network</rasd:Connection><rasd:InstanceID>7</rasd:InstanceID><rasd:ResourceSubType>VmxNet3</rasd:ResourceSubType><rasd:ResourceType>10</rasd:ResourceType></Item>
      <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>
    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>`

test('the hardware of an OVF is read', () => {
  assert.deepEqual(parseOvf(vmware), {
    ...{ name: 'Web server', cpus: 2, memoryKiB: 2 ** 21, efi: true, scsiModel: 'vmpvscsi' },
    disks: [
      { capacityBytes: 2 ** 33, format: 'vmdk', file: 'web-disk1.vmdk', bus: 'scsi' },
      { capacityBytes: 2 ** 20, format: 'qcow2', bus: 'sata' },
    ],
    ...{ cards: ['vmxnet3'], leftOut: ['CD/DVD drive 1'] },
  })
})

test('what is written is read again', () => {
  const disk = { sizeBytes: 5, capacityBytes: 2 ** 30 }
  const text = formatOvf({
    ...{
      name: `<a & "b">`,
      cpus: 3,
      memoryMiB: 512,
      efi: true,
      scsiSubtype: 'lsilogic',
      cards: ['E1000', 'VmxNet3'],
    },
    disks: [
      { ...disk, file: 'a.vmdk', bus: 'scsi' },
      { ...disk, file: 'b.vmdk', bus: 'sata' },
      { ...disk, file: 'c.vmdk', bus: 'ide' },
      { ...disk, file: 'd.vmdk', bus: 'nvme' },
    ],
  })
  assert.deepEqual(parseOvf(text), {
    ...{ name: `<a & "b">`, cpus: 3, memoryKiB: 512 * 1024, efi: true, scsiModel: 'lsilogic' },
    disks: ['scsi', 'sata', 'ide', 'nvme'].map((bus, index) => ({
      ...{ capacityBytes: 2 ** 30, format: 'vmdk', file: `${'abcd'[index]}.vmdk`, bus },
    })),
    ...{ cards: ['e1000', 'vmxnet3'], leftOut: [] },
  })
})

test('an OVF that leads elsewhere, or means something else, is refused', () => {
  const refuse = (from: string | RegExp, to: string, wanted: string) =>
    assert.throws(() => parseOvf(vmware.replace(from, to)), code(wanted), to)
  refuse('web-disk1.vmdk', '../../etc/shadow', 'denied')
  refuse('web-disk1.vmdk', '/etc/shadow', 'denied')
  refuse('web-disk1.vmdk', '..%2fsecret.vmdk', 'denied')
  refuse('web-disk1.vmdk', 'http://example.org/x.vmdk', 'denied')
  refuse('ovf:size="3"', 'ovf:compression="gzip"', 'unsupported-config')
  refuse('ovf:size="3"', 'ovf:chunkSize="7"', 'unsupported-config')
  refuse('ovf:diskId="vmdisk1"', 'ovf:diskId="vmdisk1" ovf:parentRef="x"', 'unsupported-config')
  refuse('ovf:capacity="8"', 'ovf:capacity="99999999"', 'invalid-argument')
  refuse('ovf:capacity="8"', 'ovf:capacity="-1"', 'invalid-argument')
  refuse('ovf:fileRef="file1"', 'ovf:fileRef="file2"', 'invalid-argument')
  refuse('>2048<', '>much<', 'invalid-argument')
  refuse('ovf:/disk/vmdisk1', 'ovf:/file/file1', 'invalid-argument')
  refuse('<Envelope', '<!DOCTYPE x><Envelope', 'invalid-argument')
  refuse(/VirtualSystem\b/gu, 'VirtualSystemCollection', 'unsupported-config')
  refuse(/Envelope/gu, 'domain', 'invalid-argument')
})

test('any OVF is read or refused', () => {
  const words = fc.constantFrom(
    '',
    '-1',
    '8',
    '1e99',
    'byte * 2^90',
    '../x',
    'ovf:/disk/x',
    '<x/>',
    '3',
    '4',
    '17',
    '&amp;',
  )
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(), words), { maxLength: 8 }), (changes) => {
      const values = [...vmware.matchAll(/"[^"]*"|>[^<>]+</gu)]
      let text = vmware
      for (const [at, word] of changes) {
        const found = values[at % values.length]?.[0] ?? ''
        text = text.replace(found, found.startsWith('"') ? `"${word.replaceAll('<', '')}"` : `>${word}<`)
      }
      try {
        for (const { file } of parseOvf(text).disks) assert.ok(file === undefined || isPlainName(file))
      } catch (error) {
        if (!(error instanceof VisorError)) throw error
      }
    }),
    { numRuns: 500 },
  )
})

test('the files of a tar are found, as tar(1) writes and reads it', async (t) => {
  const files = { 'a.ovf': 'x', 'b.vmdk': Buffer.alloc(1_000, 7), 'c.mf': '' }
  const made = tar(files)
  const entries = await list(made)
  assert.deepEqual(
    entries.map(({ name, sizeBytes }) => [name, sizeBytes]),
    [
      ['a.ovf', 1],
      ['b.vmdk', 1_000],
      ['c.mf', 0],
    ],
  )
  assert.deepEqual(made.subarray(entries[1]?.offset, (entries[1]?.offset ?? 0) + 1_000), files['b.vmdk'])
  const path = await folder(t)
  await writeFile(join(path, 'x.ova'), made)
  assert.equal((await runChecked('tar', ['-tf', join(path, 'x.ova')])).stdout, 'a.ovf\nb.vmdk\nc.mf\n')
  for (const [name, content] of Object.entries(files)) await writeFile(join(path, name), content)
  for (const format of ['ustar', 'gnu', 'v7']) {
    await runChecked('tar', [
      '-C',
      path,
      `--format=${format}`,
      '-cf',
      join(path, 'y.ova'),
      ...Object.keys(files),
    ])
    const file = await open(join(path, 'y.ova'))
    const { size } = await file.stat()
    assert.deepEqual(
      (await listTar(file, size, 'y').finally(() => file.close())).map(({ name }) => name),
      Object.keys(files),
    )
  }
  const huge = tarHeader('huge', 2 ** 40)
  assert.equal((await listTar(bytesOf(huge), 2 ** 41, 'x'))[0]?.sizeBytes, 2 ** 40)
})

test('a tar that leads elsewhere is refused', async () => {
  const plain = tarHeader('name', 0)
  const renamed = (name: string) => changed(plain, (header) => void header.fill(0, 0, 100).write(name, 0))
  const end = Buffer.alloc(2 * blockBytes)
  for (const [header, why] of [
    [renamed('../x'), /no plain one/u],
    [renamed('/etc/passwd'), /no plain one/u],
    [renamed('a/b'), /no plain one/u],
    [renamed('..'), /no plain one/u],
    [changed(plain, (one) => void one.write('pre', 345)), /no plain one/u],
    [changed(plain, (one) => void one.write('2', 156)), /no plain file/u],
    [changed(plain, (one) => void one.write('1', 156)), /no plain file/u],
    [changed(plain, (one) => void one.write('5', 156)), /no plain file/u],
    [changed(plain, (one) => void one.write('77777777777', 124)), /cut off/u],
    [changed(plain, (one) => void one.fill(0xff, 124, 136)), /cut off/u],
    [Buffer.concat([plain, plain]), /twice/u],
    [Buffer.from(plain).fill(1, 0, 3), /no tar/u],
    [Buffer.from('hello'), /no tar/u],
  ] as const)
    await assert.rejects(list(Buffer.concat([header, end])), { code: 'invalid-argument', message: why })
  const extended = (text: string) =>
    Buffer.concat([
      changed(tarHeader('pax', text.length), (one) => void one.write('x', 156)),
      Buffer.from(text.padEnd(blockBytes, '\0')),
      plain,
      end,
    ])
  await assert.rejects(list(extended('16 path=../../x\n')), { message: /extended headers/u })
  assert.equal((await list(extended('20 mtime=1700000000\n'))).length, 1)
})

test('any tar is read or refused', async () => {
  const valid = tar({ 'a.ovf': 'x'.repeat(600), 'b.vmdk': 'y' })
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { maxLength: 6 }),
      fc.nat(valid.length),
      async (changes, length) => {
        const bytes = Buffer.from(valid.subarray(0, length))
        for (const [at, value] of changes) if (at < length) bytes[at] = value
        try {
          for (const { name, offset, sizeBytes } of await list(bytes))
            assert.ok(isPlainName(name) && offset + sizeBytes <= length)
        } catch (error) {
          if (!(error instanceof VisorError)) throw error
        }
      },
    ),
    { numRuns: 500 },
  )
})

test('a manifest tells the digests', () => {
  const hex = 'ab'.repeat(32)
  assert.deepEqual(parseManifest(`${manifestLine('a b.vmdk', hex)}SHA1 (c)= ${'0'.repeat(40)}\r\n\n`), [
    { name: 'a b.vmdk', algorithm: 'sha256', hex },
    { name: 'c', algorithm: 'sha1', hex: '0'.repeat(40) },
  ])
  for (const text of ['hello', `MD5(x)= ${hex}`, 'SHA256(x)= zz'])
    assert.throws(() => parseManifest(text), code('invalid-argument'))
})

const noQemuImg = await run('qemu-img', ['--version']).then(
  () => false as const,
  () => 'qemu-img is not installed: install qemu-utils',
)

test('an OVA is opened when it is what its manifest says', { skip: noQemuImg }, async (t) => {
  const path = await folder(t)
  const vmdk = join(path, 'web-disk1.vmdk')
  await runChecked('qemu-img', ['create', '-q', '-f', 'vmdk', '-o', 'subformat=streamOptimized', vmdk, '8G'])
  const disk = await readFile(vmdk)
  const digest = (bytes: Buffer | string) => createHash('sha256').update(bytes).digest('hex')
  const manifest = manifestLine('web.ovf', digest(vmware)) + manifestLine('web-disk1.vmdk', digest(disk))
  const ova = join(path, 'web.ova')
  const put = (files: Record<string, Buffer | string>) => writeFile(ova, tar(files))
  const good = { 'web.ovf': vmware, 'web.mf': manifest, 'web-disk1.vmdk': disk }
  await put(good)
  const opened = await openAppliance(ova, call)
  assert.equal(opened.verified, true)
  assert.equal(opened.fileOf('web-disk1.vmdk').sizeBytes, disk.length)
  await opened.close()
  const beside = join(path, 'web.ovf')
  await writeFile(beside, vmware)
  const plain = await openAppliance(beside, call)
  assert.equal(plain.verified, false)
  await plain.close()
  const fails = async (files: Record<string, Buffer | string>, wanted: string, why: RegExp) => {
    await put(files)
    await assert.rejects(openAppliance(ova, call), { code: wanted, message: why })
  }
  const other = Buffer.from(disk)
  other[other.length - 1] = 0x55
  await fails({ ...good, 'web-disk1.vmdk': other }, 'failed', /not what its manifest says/u)
  await fails(
    { ...good, 'web.mf': manifestLine('web.ovf', digest(vmware)) },
    'failed',
    /no digest of 'web-disk1/u,
  )
  await fails({ 'web.ovf': vmware }, 'invalid-argument', /lacks the file/u)
  await fails({ 'web-disk1.vmdk': disk }, 'invalid-argument', /no OVF in it/u)
  const flat = `# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 100 FLAT "other-flat.vmdk" 0\n`
  await fails({ 'web.ovf': vmware, 'web-disk1.vmdk': flat }, 'denied', /in another file, 'other-flat/u)
  const away = flat.replace('other-flat.vmdk', '/etc/shadow')
  await put({ 'web.ovf': vmware, 'web-disk1.vmdk': away })
  await assert.rejects(openAppliance(ova, call), VisorError)
  const child = flat.replace('ffffffff', '12345678').replace(/RW.*\n/u, 'parentFileNameHint="/etc/shadow"\n')
  await fails({ 'web.ovf': vmware, 'web-disk1.vmdk': child }, 'denied', /in another file, '\/etc\/shadow/u)
  await assert.rejects(openAppliance(join(path, 'none.ova'), call), { code: 'invalid-argument' })
})
