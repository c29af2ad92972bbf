/**
 * Keys by their names and by the numbers that people know them by.
 *
 * Sources: Linux's input-event-codes.h (names and numbers), the USB HID usage tables (keyboard page), the virtual
 * keys of Windows, and the scan codes of set 1, where QEMU writes a leading 0xe0 as the bit 0x80 (its `qnum`).
 */
import { type keyCodesets, VisorError } from '../../../../model/index.ts'

type Codeset = (typeof keyCodesets)[number]

/** Name (without KEY_), then its number for linux, qnum, usb and win32; `-` where there is none. */
const table = `
A:30:30:4:65 B:48:48:5:66 C:46:46:6:67 D:32:32:7:68 E:18:18:8:69 F:33:33:9:70 G:34:34:10:71
H:35:35:11:72 I:23:23:12:73 J:36:36:13:74 K:37:37:14:75 L:38:38:15:76 M:50:50:16:77 N:49:49:17:78
O:24:24:18:79 P:25:25:19:80 Q:16:16:20:81 R:19:19:21:82 S:31:31:22:83 T:20:20:23:84 U:22:22:24:85
V:47:47:25:86 W:17:17:26:87 X:45:45:27:88 Y:21:21:28:89 Z:44:44:29:90 1:2:2:30:49 2:3:3:31:50
3:4:4:32:51 4:5:5:33:52 5:6:6:34:53 6:7:7:35:54 7:8:8:36:55 8:9:9:37:56 9:10:10:38:57 0:11:11:39:48
ENTER:28:28:40:13 ESC:1:1:41:27 BACKSPACE:14:14:42:8 TAB:15:15:43:9 SPACE:57:57:44:32
MINUS:12:12:45:189 EQUAL:13:13:46:187 LEFTBRACE:26:26:47:219 RIGHTBRACE:27:27:48:221
BACKSLASH:43:43:49:220 SEMICOLON:39:39:51:186 APOSTROPHE:40:40:52:222 GRAVE:41:41:53:192
COMMA:51:51:54:188 DOT:52:52:55:190 SLASH:53:53:56:191 CAPSLOCK:58:58:57:20 F1:59:59:58:112
F2:60:60:59:113 F3:61:61:60:114 F4:62:62:61:115 F5:63:63:62:116 F6:64:64:63:117 F7:65:65:64:118
F8:66:66:65:119 F9:67:67:66:120 F10:68:68:67:121 F11:87:87:68:122 F12:88:88:69:123
F13:183:93:104:124 F14:184:94:105:125 F15:185:95:106:126 SYSRQ:99:84:70:44 SCROLLLOCK:70:70:71:145
PAUSE:119:198:72:19 INSERT:110:210:73:45 HOME:102:199:74:36 PAGEUP:104:201:75:33
DELETE:111:211:76:46 END:107:207:77:35 PAGEDOWN:109:209:78:34 RIGHT:106:205:79:39 LEFT:105:203:80:37
DOWN:108:208:81:40 UP:103:200:82:38 NUMLOCK:69:69:83:144 KPSLASH:98:181:84:111
KPASTERISK:55:55:85:106 KPMINUS:74:74:86:109 KPPLUS:78:78:87:107 KP1:79:79:89:97 KP2:80:80:90:98
KP3:81:81:91:99 KP4:75:75:92:100 KP5:76:76:93:101 KP6:77:77:94:102 KP7:71:71:95:103 KP8:72:72:96:104
KP9:73:73:97:105 KP0:82:82:98:96 KPDOT:83:83:99:110 102ND:86:86:100:226 KPENTER:96:156:88:-
KPEQUAL:117:89:103:146 COMPOSE:127:221:101:93 POWER:116:222:102:- MUTE:113:160:127:173
VOLUMEUP:115:176:128:175 VOLUMEDOWN:114:174:129:174 SLEEP:142:223:-:95 WAKEUP:143:227:-:-
LEFTCTRL:29:29:224:162 LEFTSHIFT:42:42:225:160 LEFTALT:56:56:226:164 LEFTMETA:125:219:227:91
RIGHTCTRL:97:157:228:163 RIGHTSHIFT:54:54:229:161 RIGHTALT:100:184:230:165 RIGHTMETA:126:220:231:92
`

interface Key {
  readonly name: string
  readonly qnum: number
  readonly numbers: Readonly<Record<Codeset, number | undefined>>
}

const keys: readonly Key[] = table
  .trim()
  .split(/\s+/u)
  .map((entry) => {
    const [name = '', linux, qnum, usb, win32] = entry.split(':')
    const number = (text: string | undefined) => (text === '-' ? undefined : Number(text))
    const code = Number(qnum)
    const raw = code & 0x80 ? 0xe000 | (code & 0x7f) : code
    return {
      name: `KEY_${name}`,
      qnum: code,
      numbers: {
        linux: number(linux),
        qnum: code,
        xt: raw,
        atset1: raw,
        usb: number(usb),
        win32: number(win32),
      },
    }
  })

/**
 * The key in QEMU's numbers. Fails with `invalid-argument` for one that is in no table; a number of QEMU's own
 * is taken as it is.
 */
export function findKey(key: string, codeset: Codeset): number {
  const isNumber = /^(?:0x[0-9a-f]{1,4}|\d{1,5})$/iu.test(key)
  const number = isNumber ? Number(key) : undefined
  if (codeset === 'qnum' && number !== undefined && number > 0 && number < 0x100) return number
  const found = isNumber
    ? keys.find(({ numbers }) => numbers[codeset] === number)
    : keys.find(({ name }) => name === key.toUpperCase())
  if (found) return found.qnum
  throw new VisorError(
    'invalid-argument',
    `There is no key '${key}'${isNumber ? ` in the codeset ${codeset}` : ''}.`,
    {
      remedy:
        'Name keys as Linux does: KEY_LEFTCTRL, KEY_A, KEY_F1, KEY_DELETE; or give their numbers and the codeset.',
    },
  )
}
