import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  changeNetwork,
  formatNetworkDefinition,
  type NetworkChange,
  parseNetworkDefinition,
  parseNetworkElement,
} from '../index.ts'

const lab = parseNetworkDefinition(`<network><name>lab</name><forward mode='nat'/>
  <dns><txt name='a' value='b'/><host ip='10.1.0.9'><hostname>nine</hostname></host></dns>
  <ip address='10.1.0.1' prefix='24'><dhcp><range start='10.1.0.10' end='10.1.0.20'/>
    <host mac='52:54:00:00:00:01' name='web' ip='10.1.0.2'/></dhcp></ip>
  <ip family='ipv6' address='fd00::1' prefix='64'><dhcp><range start='fd00::10' end='fd00::20'/></dhcp></ip>
</network>`)

const xmlOf = (
  command: NetworkChange['command'],
  section: NetworkChange['section'],
  xml: string,
  parentIndex?: number,
) =>
  formatNetworkDefinition(
    changeNetwork(lab, { command, section, element: parseNetworkElement(section, xml), parentIndex }),
    'xml',
  )

const changes: readonly (readonly [NetworkChange['command'], NetworkChange['section'], string, RegExp])[] = [
  [
    'add-last',
    'ip-dhcp-host',
    "<host mac='52:54:00:00:00:02' ip='10.1.0.3'/>",
    /0\.2'.*<host mac='52:54:00:00:00:02' ip='10\.1\.0\.3'\/>/su,
  ],
  ['add-first', 'ip-dhcp-host', "<host name='db' ip='10.1.0.3'/>", /name='db'.*name='web'/su],
  [
    'modify',
    'ip-dhcp-host',
    "<host mac='52:54:00:00:00:01' ip='10.1.0.7'/>",
    /<host mac='52:54:00:00:00:01' ip='10\.1\.0\.7'\/>/u,
  ],
  [
    'add-last',
    'ip-dhcp-range',
    "<range start='fd00::30' end='fd00::40'/>",
    /fd00::20'.*<range start='fd00::30' end='fd00::40'\/>/su,
  ],
  ['add-last', 'dns-host', "<host ip='10.1.0.8'><hostname>eight</hostname></host>", /nine.*eight/su],
  ['modify', 'dns-txt', "<txt name='a' value='c'/>", /value='c'/u],
  [
    'add-last',
    'dns-srv',
    "<srv service='sip' protocol='tcp' target='web' port='5060'/>",
    /<srv service='sip'/u,
  ],
  ['add-last', 'portgroup', "<portgroup name='fast'/>", /<portgroup name='fast'\/>/u],
  ['add-last', 'forward-interface', "<interface dev='eth0'/>", /<interface dev='eth0'\/>/u],
]
for (const [command, section, xml, wanted] of changes)
  test(`${command} ${section} ${xml}`, () => assert.match(xmlOf(command, section, xml), wanted))

test('what is deleted is gone, and nothing else', () => {
  assert.doesNotMatch(xmlOf('delete', 'ip-dhcp-host', "<host ip='10.1.0.2'/>"), /<host mac/u)
  assert.doesNotMatch(
    xmlOf('delete', 'ip-dhcp-range', "<range start='10.1.0.10' end='10.1.0.20'/>"),
    /0\.10/u,
  )
  assert.doesNotMatch(xmlOf('delete', 'dns-host', "<host ip='10.1.0.9'/>"), /nine/u)
})

const wrong: readonly (readonly [
  NetworkChange['command'],
  NetworkChange['section'],
  string,
  string,
  RegExp,
])[] = [
  ['delete', 'ip-dhcp-host', "<host ip='10.1.0.77'/>", 'not-found', /no ip-dhcp-host .*10\.1\.0\.77/u],
  ['modify', 'dns-txt', "<txt name='z' value='c'/>", 'not-found', /no dns-txt/u],
  ['add-last', 'ip-dhcp-host', "<host name='x' ip='10.1.0.2'/>", 'already-exists', /already ip-dhcp-host/u],
  ['add-last', 'dns-txt', "<txt name='a' value='b'/>", 'already-exists', /already dns-txt/u],
  [
    'add-last',
    'dns-txt',
    "<txt name='a' value='b'/><txt name='c' value='b'/>",
    'invalid-argument',
    /One element/u,
  ],
  ['add-last', 'dns-txt', '', 'invalid-argument', /One element/u],
  [
    'add-last',
    'dns-txt',
    "<txt name='a' value='b'/></dns><uuid>x</uuid><dns>",
    'invalid-definition',
    /uuid/u,
  ],
]
for (const [command, section, xml, code, message] of wrong)
  test(`${command} ${section} ${xml} is refused`, () =>
    assert.throws(() => xmlOf(command, section, xml), { code, message }))

test('an address that is not there is named', () =>
  assert.throws(() => xmlOf('add-last', 'ip-dhcp-host', "<host name='x' ip='10.1.0.3'/>", 7), {
    code: 'not-found',
    message: /has no address/u,
  }))
