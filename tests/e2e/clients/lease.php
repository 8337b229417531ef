<?php
// Usage: php lease.php BASE_URL NAME 1.1|1.2
// Leases a workspace, waits until it runs, destroys it, asks once more; prints one JSON object.
// Over https it trusts the authority in the file CA, and shows CERTIFICATE with KEY or the token in TOKEN.
[, $base, $name, $version] = $argv;
$options = [
    "cache_wsdl" => WSDL_CACHE_NONE,
    "soap_version" => $version === "1.2" ? SOAP_1_2 : SOAP_1_1,
    "connection_timeout" => 120,
    "stream_context" => stream_context_create([
        "ssl" => array_filter([
            "cafile" => getenv("CA"),
            "local_cert" => getenv("CERTIFICATE"),
            "local_pk" => getenv("KEY"),
        ]),
        "http" => getenv("TOKEN") ? ["header" => "Authorization: Bearer " . getenv("TOKEN")] : [],
    ]),
];
$factory = new SoapClient("$base/factory?wsdl", $options);
$workspace = new SoapClient("$base/workspace?wsdl", $options);

$answer = $factory->Create([
    "Name" => $name,
    "Part" => [[
        "Name" => $name,
        "MemoryMB" => 64,
        "CPUs" => 1,
        "Disk" => [["Image" => "guest"]],
        "NIC" => [["Network" => "private"]],
    ]],
    "Lease" => ["Duration" => "PT10M"],
]);
$resource = is_array($answer->Resource) ? $answer->Resource[0] : $answer->Resource;
$reference = $resource->EndpointReference;
$address = is_object($reference->Address) ? $reference->Address->_ : $reference->Address;
$workspace->__setLocation($address);

// An endpoint reference is opaque: its parameters become headers as they are.
$parameters = $reference->ReferenceParameters->any;
$headers = [];
foreach ((array) $parameters as $xml) {
    $element = dom_import_simplexml(simplexml_load_string($xml));
    $headers[] = new SoapHeader($element->namespaceURI, $element->localName, new SoapVar($xml, XSD_ANYXML));
}
$workspace->__setSoapHeaders($headers);

// SoapClient writes no QName, so this message is written by hand.
function state($workspace) {
    $rp = "http://docs.oasis-open.org/wsrf/rp-2";
    $message = "<rp:GetResourceProperty xmlns:rp='$rp' xmlns:fl='urn:flyinglow:types:1'>fl:State</rp:GetResourceProperty>";
    $found = $workspace->GetResourceProperty(new SoapVar($message, XSD_ANYXML))->any;
    return strip_tags(is_array($found) ? implode("", $found) : $found);
}

$states = [];
$deadline = microtime(true) + 120;
do {
    $states[] = state($workspace);
    usleep(20000);
} while (end($states) !== "Running" && microtime(true) < $deadline);

$workspace->Destroy([]);
try {
    $fault = state($workspace);
} catch (SoapFault $caught) {
    $fault = array_keys(get_object_vars($caught->detail))[0];
}
echo json_encode(["name" => $resource->Name, "address" => $address, "states" => $states, "afterwards" => $fault]), "\n";
