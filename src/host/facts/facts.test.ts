import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { layOut } from '../../../test/fixtures/recorded-hosts.ts'
import {
  decodeFeatureControl,
  decodeVmCr,
  hostFiles,
  parseCgroups,
  parseCpuinfo,
  parseFilesystems,
  parseKernelConfig,
  parseLimits,
  parseListeners,
  parseMeminfo,
  parseModuleList,
  parseMountinfo,
  parseSubordinateIds,
  readHostInfo,
  readKernel,
  readPackageFamily,
  readSystemName,
  saysDisabledByFirmware,
} from './index.ts'

test('cpuinfo of x86, Arm and Power', () => {
  const x86 = parseCpuinfo(
    'processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 1\nmodel name\t: X\nflags\t\t: svm npt\n\nprocessor\t: 1\n',
  )
  assert.deepEqual(
    { ...x86, flags: [...x86.flags] },
    { vendor: 'AMD', name: 'X', family: 25, model: 1, count: 2, flags: ['svm', 'npt'] },
  )
  const arm = parseCpuinfo(
    'processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\n',
  )
  assert.deepEqual([arm.vendor, arm.count, arm.flags.has('asimd')], ['other', 1, true])
  assert.equal(
    parseCpuinfo('processor\t: 0\ncpu\t\t: POWER9, altivec supported\n').name,
    'POWER9, altivec supported',
  )
})

test('registers and log lines that tell what the firmware allows', () => {
  assert.deepEqual([0n, 1n, 5n].map(decodeFeatureControl), ['unlocked', 'disabled', 'enabled'])
  assert.deepEqual([0n, 8n, 16n, 24n].map(decodeVmCr), ['enabled', 'enabled', 'unlocked', 'disabled'])
  assert.ok(saysDisabledByFirmware('[ 1.0] x86/cpu: VMX (outside TXT) disabled by BIOS'))
  assert.ok(saysDisabledByFirmware("kvm: support for 'kvm_intel' disabled by bios"))
  assert.ok(!saysDisabledByFirmware('tpm: disabled by bios'))
})

test('mounts with a space in their path', () => {
  const [mount] = parseMountinfo(
    '36 35 98:0 /a\\040b /mnt\\040x rw,noatime master:1 - ext4 /dev/root rw,errors=continue\n',
  )
  assert.deepEqual(mount, {
    root: '/a b',
    point: '/mnt x',
    type: 'ext4',
    source: '/dev/root',
    options: ['rw', 'errors=continue'],
  })
})

test('small tables', () => {
  assert.deepEqual([...parseCgroups('#subsys_name\th\tn\te\ncpu\t1\t1\t1\nmemory\t0\t1\t0\n')], ['cpu'])
  assert.deepEqual([...parseFilesystems('nodev\tsysfs\n\text4\n')], ['sysfs', 'ext4'])
  assert.deepEqual(
    [...parseModuleList('kernel/net/bridge/br-netfilter.ko.xz: kernel/net/bridge/bridge.ko.xz\n')],
    ['br_netfilter'],
  )
  assert.deepEqual(
    [...parseKernelConfig('CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C="x"\n')],
    [
      ['CONFIG_A', 'y'],
      ['CONFIG_C', 'x'],
    ],
  )
  assert.equal(parseMeminfo('MemTotal:  100 kB\nHugePages_Total:   4\n').get('HugePages_Total'), 4)
  assert.equal(parseSubordinateIds('a:1:10\n7:1:20\nb:1:40\n', { name: 'a', id: 7 }), 30)
})

test('limits, with and without an end', () => {
  const limits = parseLimits(
    'Limit   Soft Limit   Hard Limit   Units\nMax open files            1024                 unlimited            files     \n',
  )
  assert.deepEqual(limits.get('Max open files'), { soft: 1024, hard: Number.POSITIVE_INFINITY })
})

test('sockets that listen, on IPv4 and IPv6', () => {
  const head =
    '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n'
  const rest = '00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n'
  const at = (address: string, state = '0A') =>
    parseListeners(`${head}   0: ${address}:1CFC 00000000:0000 ${state} ${rest}`)
  assert.deepEqual(at('0100007F'), [{ address: '127.0.0.1', port: 7420, inode: '4711' }])
  assert.deepEqual(at('0100007F', '01'), [])
  assert.equal(at('00000000000000000000000000000000')[0]?.address, '::')
  assert.equal(at('00000000000000000000000001000000')[0]?.address, '::1')
  assert.equal(at('000080FE000000000000000001000000')[0]?.address, 'fe80::1')
})

test('the configuration of the kernel is read packed, and a broken one is passed over', async () => {
  const text = 'CONFIG_BRIDGE=y\n# CONFIG_KSM is not set\n'
  const release = { '/proc/sys/kernel/osrelease': '1.0\n' }
  await using packed = await layOut({ ...release, '/proc/config.gz': gzipSync(text) })
  await using broken = await layOut({ ...release, '/proc/config.gz': 'no gzip', '/boot/config-1.0': text })
  await using none = await layOut(release)
  const states = [packed, broken, none].map(({ root }) =>
    ['CONFIG_BRIDGE', 'CONFIG_KSM'].map((option) => readKernel(hostFiles(root)).stateOf({ option })),
  )
  assert.deepEqual(states, [
    ['built-in', 'absent'],
    ['built-in', 'absent'],
    ['unknown', 'unknown'],
  ])
})

test('the system and the family of its packages', async () => {
  await using fedora = await layOut({
    '/etc/os-release': 'ID="rocky"\nID_LIKE="rhel centos fedora"\nPRETTY_NAME="Rocky Linux 9.4"\n',
  })
  assert.deepEqual(
    [readSystemName(hostFiles(fedora.root)), readPackageFamily(hostFiles(fedora.root))],
    ['Rocky Linux 9.4', 'fedora'],
  )
})

test('this host', () => {
  const info = readHostInfo('1.2.3')
  assert.ok(info.cpus > 0 && info.memoryKiB > 0 && info.kernel !== '')
  assert.equal(info.visor, '1.2.3')
})

test('no text of a host makes a parser fail', () => {
  const parsers = [
    parseCpuinfo,
    parseMountinfo,
    parseCgroups,
    parseFilesystems,
    parseModuleList,
    parseKernelConfig,
    parseMeminfo,
    parseLimits,
    parseListeners,
  ]
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'a0:/\t\n -=\\.#"') }), (text) => {
      for (const parse of parsers) parse(text)
    }),
  )
})

test('what is missing reads as nothing, and no more is read than asked for', async () => {
  await using host = await layOut({ '/etc/hosts': '0123456789' }, { '/proc/1/fd/3': 'socket:[7]' })
  const files = hostFiles(host.root)
  assert.equal(files.read('/none'), undefined)
  assert.equal(files.read('/etc'), undefined)
  assert.deepEqual(files.list('/none'), [])
  assert.equal(files.readBytes('/etc/hosts', { offset: 4, length: 3 })?.toString(), '456')
  assert.equal(files.readLink('/proc/1/fd/3'), 'socket:[7]')
  assert.ok(files.permits('/etc/hosts', 'read-write') && !files.permits('/none', 'read'))
})
