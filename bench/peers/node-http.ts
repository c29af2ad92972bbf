/** A bare HTTP server that answers `ok`, on the unix socket named: what Node itself takes for a round trip. */
import { createServer } from 'node:http'

createServer((_, response) =>
  response.setHeader('content-type', 'application/json').end('{"status":"ok"}'),
).listen(process.argv[2], () => process.stdout.write('ready\n'))
