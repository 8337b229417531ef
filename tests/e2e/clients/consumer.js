// Usage: node consumer.js CONSUMER_WSDL
// Serves a NotificationConsumer made from the WSDL on a free port of loopback; prints its port, then one JSON line for
// every message that comes in.
"use strict";
const fs = require("fs");
const http = require("http");
const soap = require("soap");

const [wsdl] = process.argv.slice(2);
const take = (message) => {
  console.log(JSON.stringify(message));
};
const ports = { NotificationConsumerPort: { Notify: take }, NotificationConsumerPort12: { Notify: take } };
const server = http.createServer((request, response) => response.writeHead(404).end());
server.listen(0, "127.0.0.1", () => {
  soap.listen(server, {
    path: "/sink",
    services: { NotificationConsumerService: ports },
    xml: fs.readFileSync(wsdl, "utf8"),
    uri: wsdl,
    callback: () => console.log(server.address().port),
  });
});
