// Usage: node lease.js BASE_URL NAME
// Leases a workspace, waits until it runs, destroys it, asks once more; prints one JSON object.
// Over https it trusts the authority in the file CA, and shows CERTIFICATE with KEY or the token in TOKEN.
"use strict";
const fs = require("fs");
const https = require("https");
const soap = require("soap");

const [base, name] = process.argv.slice(2);

const { CA, CERTIFICATE, KEY, TOKEN } = process.env;
const file = (path) => path && fs.readFileSync(path);
const httpsAgent = new https.Agent({ ca: file(CA), cert: file(CERTIFICATE), key: file(KEY) });

async function client(service) {
  const made = await soap.createClientAsync(`${base}/${service}?wsdl`, { wsdl_options: { httpsAgent } });
  made.setSecurity({ addOptions: (options) => Object.assign(options, { httpsAgent }), toXML: () => "" });
  if (CERTIFICATE) made.setSecurity(new soap.ClientSSLSecurity(file(KEY), file(CERTIFICATE), file(CA)));
  if (TOKEN) made.setSecurity(new soap.BearerSecurity(TOKEN, { httpsAgent }));
  return made;
}

async function main() {
  const factory = await client("factory");
  const workspace = await client("workspace");
  const [answer] = await factory.CreateAsync({
    Name: name,
    Part: [{ Name: name, MemoryMB: 64, CPUs: 1, Disk: [{ Image: "guest" }], NIC: [{ Network: "private" }] }],
    Lease: { Duration: "PT10M" },
  });
  const resource = [].concat(answer.Resource)[0];
  const address = resource.EndpointReference.Address.$value || resource.EndpointReference.Address;
  workspace.setEndpoint(address);
  for (const [key, value] of Object.entries(resource.EndpointReference.ReferenceParameters)) {
    if (key !== "attributes") {
      const text = value.$value || value;
      workspace.addSoapHeader(`<p:${key} xmlns:p="urn:flyinglow:types:1">${text}</p:${key}>`);
    }
  }

  async function state() {
    const [found] = await workspace.GetResourcePropertyAsync({ $value: "fl:State" });
    return found.State.$value || found.State;
  }

  const states = [];
  const deadline = Date.now() + 120000;
  do {
    states.push(await state());
    await new Promise((resolve) => setTimeout(resolve, 20));
  } while (states.at(-1) !== "Running" && Date.now() < deadline);

  await workspace.DestroyAsync({});
  let afterwards;
  try {
    afterwards = await state();
  } catch (error) {
    if (!error.root) throw error;
    afterwards = Object.keys(error.root.Envelope.Body.Fault.detail).find((key) => key !== "attributes");
  }
  console.log(JSON.stringify({ name: resource.Name, address, states, afterwards }));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
