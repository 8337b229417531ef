<?php
// A portal in PHP with SoapClient: leases a machine, follows it, and gives it back.
// Usage: php portal.php https://HOST:PORT. It trusts the authority in the file CA, and shows CERTIFICATE with KEY or
// the token in TOKEN. It prints one JSON object.
const TYPES = "urn:flyinglow:types:1";

$base = $argv[1];
$options = [
    "cache_wsdl" => WSDL_CACHE_NONE, // or WSDL_CACHE_BOTH: within :1 the contract only grows
    "connection_timeout" => 60,
    "trace" => true, // keeps the last answer, for what SoapClient does not make of it
    "features" => SOAP_SINGLE_ELEMENT_ARRAYS,
    "stream_context" => stream_context_create([
        "ssl" => array_filter([
            "cafile" => getenv("CA"),
            "local_cert" => getenv("CERTIFICATE"),
            "local_pk" => getenv("KEY"),
        ]),
        "http" => getenv("TOKEN") ? ["header" => "Authorization: Bearer " . getenv("TOKEN")] : [],
    ]),
];

// Returns what calls a service; with an endpoint reference, at its address and with its parameters as headers.
function service($name, $reference = null)
{
    global $base, $options;
    $client = new SoapClient("$base/$name?wsdl", $options);
    if ($reference) {
        $client->__setLocation(address($reference));
        $client->__setSoapHeaders(array_map(function ($xml) {
            $element = dom_import_simplexml(simplexml_load_string($xml));
            return new SoapHeader($element->namespaceURI, $element->localName, new SoapVar($xml, XSD_ANYXML));
        }, parameters($reference)));
    }
    return $client;
}

function address($reference)
{
    return is_object($reference->Address) ? $reference->Address->_ : $reference->Address;
}

function parameters($reference)
{
    return isset($reference->ReferenceParameters) ? (array) $reference->ReferenceParameters->any : [];
}

// Returns the name, the kind and the figures of a typed fault. SoapClient drops attributes, so it is read as XML.
function problem($client)
{
    $answer = new SimpleXMLElement($client->__getLastResponse());
    $answer->registerXPathNamespace("fl", TYPES);
    $figures = [];
    foreach ($answer->xpath("//fl:Figure") as $figure) {
        $figures[(string) $figure["name"]] = (int) $figure;
    }
    return [
        "fault" => $answer->xpath("//detail/*")[0]->getName(),
        "kind" => implode("", $answer->xpath("//fl:Kind")),
        "retry" => implode("", $answer->xpath("//fl:Retryable")) === "true",
        "figures" => $figures,
    ];
}

// Returns the states that events numbered above one tell of, waiting up to 20 seconds for the next; moves the number.
function messages($pull, &$after)
{
    $more = "<fl:After xmlns:fl='" . TYPES . "'>$after</fl:After><fl:Wait xmlns:fl='" . TYPES . "'>20</fl:Wait>";
    $pull->GetMessages(["MaximumNumber" => 10, "any" => $more]);
    $answer = new SimpleXMLElement($pull->__getLastResponse()); // the events are of any type, so they are read as XML
    $answer->registerXPathNamespace("fl", TYPES);
    foreach ($answer->xpath("//fl:Numbers/@last") as $last) {
        $after = (int) $last;
    }
    return array_map("strval", $answer->xpath("//fl:StateChange/fl:State"));
}

// A token of the client's own makes Create safe to repeat: whoever sends it again gets the same lease.
$part = ["Name" => "vm", "MemoryMB" => 64, "CPUs" => 1, "Disk" => [["Image" => "guest"]], "NIC" => [["Network" => "private"]]];
$request = ["Name" => "portal", "Part" => [$part], "Lease" => ["Duration" => "PT10M"], "Token" => bin2hex(random_bytes(16))];
$factory = service("factory");
$reference = $factory->Create($request)->Resource[0]->EndpointReference;
$again = $factory->Create($request)->Resource[0]->EndpointReference;
$same = parameters($reference) == parameters($again);

// SoapClient writes no QName, so this message is written by hand.
$workspace = service("workspace", $reference);
$state = function () use ($workspace) {
    $rp = "http://docs.oasis-open.org/wsrf/rp-2";
    $message = "<rp:GetResourceProperty xmlns:rp='$rp' xmlns:fl='" . TYPES . "'>fl:State</rp:GetResourceProperty>";
    return strip_tags(implode("", (array) $workspace->GetResourceProperty(new SoapVar($message, XSD_ANYXML))->any));
};

// Events: a pull point needs no port of the portal's own.
$pull_reference = service("pullpoints")->CreatePullPoint([])->PullPoint;
$workspace->Subscribe(["ConsumerReference" => ["Address" => ["_" => address($pull_reference)]]]);
$pull = service("pullpoint", $pull_reference);
$states = [$state()];
$last = 0;
while (end($states) !== "Running") {
    $states = array_merge($states, messages($pull, $last));
}

// Faults have types; what they say is for programs, the text is for people.
try {
    $token = bin2hex(random_bytes(16));
    $factory->Create(["Part" => [["MemoryMB" => 1 << 20] + $part], "Token" => $token] + $request);
} catch (SoapFault $fault) {
    $too_much = problem($factory);
}
$workspace->Destroy([]);
try {
    $state();
} catch (SoapFault $fault) {
    $gone = problem($workspace)["fault"];
}
echo json_encode(["same" => $same, "states" => $states, "too_much" => $too_much, "gone" => $gone]), "\n";
