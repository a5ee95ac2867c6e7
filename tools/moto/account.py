"""The AWS account of tests: moto, whose instances boot where somebody wants them to.

It serves AWS's APIs at an address of its own, to whoever signs with a key that it made; others are refused as AWS refuses them. moto's
instances never run. So it looks every LOOK seconds which there are, and posts to --machines as JSON what happens to one: it is "started",
with what cloud-init would find in it, or "ended". The network interfaces that were made for an instance or a NAT gateway go with it, as in AWS;
moto keeps them.

With --balancers its load balancers are called so, for whoever serves there what they would: their names are in nobody's DNS.

Its first line of output is JSON: where it is, the key, and "desk", which answers what tests ask beside AWS:

    GET /holds       what the account holds, as lists of names by kind
    GET /targets     what its load balancers lead to, as a list of ID:PORT
    POST /refusal    no instance is run from now on: the body is {"code": …, "message": …}, by which that is refused, or {} for the end of it
    POST /quota      how many virtual CPUs may run: the body is {"cores": …}, which Service Quotas tells and RunInstances holds, or {} for no end
"""

import argparse
import base64
import gzip
import http.server
import json
import logging
import re
import sys
import threading
import time
import urllib.request

import boto3
from moto import settings
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.ec2.models.instances import Instance, InstanceBackend
from moto.elbv2.exceptions import TargetGroupNotFoundError
from moto.elbv2.models import ELBv2Backend, FakeLoadBalancer
from moto.server import ThreadedMotoServer
from moto.servicequotas.models import ServiceQuotasBackend

LOOK = 0.5
REGION = "us-east-1"
ANYTHING = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
NODE_PROFILE = "nodes.cluster-api-provider-aws.sigs.k8s.io"  # what `clusterawsadm bootstrap iam` makes in an account


class Account:
    """An account in REGION, and the key of the user who may do anything in it."""

    def __init__(self, url):
        self.url = url
        iam = self.client("iam", "none", "none")
        iam.create_instance_profile(InstanceProfileName=NODE_PROFILE)
        iam.create_user(UserName="umbel")
        iam.put_user_policy(UserName="umbel", PolicyName="anything", PolicyDocument=ANYTHING)
        made = iam.create_access_key(UserName="umbel")["AccessKey"]
        self.key, self.secret = made["AccessKeyId"], made["SecretAccessKey"]
        settings.INITIAL_NO_AUTH_ACTION_COUNT = 0  # from here on a key is asked for
        self.clients = {name: self.client(name, self.key, self.secret) for name in ("ec2", "elb", "elbv2", "secretsmanager", "s3")}

    def client(self, service, key, secret):
        return boto3.client(service, region_name=REGION, endpoint_url=self.url, aws_access_key_id=key, aws_secret_access_key=secret)

    def holds(self):
        """Returns what the account holds, as sorted names by kind. What is ended and only shown for a while does not count."""
        ec2, elb, elbv2 = self.clients["ec2"], self.clients["elb"], self.clients["elbv2"]
        names = lambda answer, kind, name: sorted(one[name] for one in answer[kind])
        nat = ec2.describe_nat_gateways()["NatGateways"]
        gone = {a["NetworkInterfaceId"] for g in nat if g["State"] == "deleted" for a in g["NatGatewayAddresses"]}
        return {
            "instances": sorted(i["InstanceId"] for i in self.instances()),
            "volumes": names(ec2.describe_volumes(), "Volumes", "VolumeId"),
            "network interfaces": sorted({n["NetworkInterfaceId"] for n in ec2.describe_network_interfaces()["NetworkInterfaces"]} - gone),
            "VPCs": names(ec2.describe_vpcs(), "Vpcs", "VpcId"),
            "subnets": sorted(f"{s['SubnetId']} in {s['AvailabilityZone']}" for s in ec2.describe_subnets()["Subnets"]),
            "route tables": names(ec2.describe_route_tables(), "RouteTables", "RouteTableId"),
            "internet gateways": names(ec2.describe_internet_gateways(), "InternetGateways", "InternetGatewayId"),
            "NAT gateways": sorted(g["NatGatewayId"] for g in nat if g["State"] != "deleted"),
            "VPC endpoints": names(ec2.describe_vpc_endpoints(), "VpcEndpoints", "VpcEndpointId"),
            "addresses": names(ec2.describe_addresses(), "Addresses", "AllocationId"),
            "security groups": names(ec2.describe_security_groups(), "SecurityGroups", "GroupId"),
            "launch templates": names(ec2.describe_launch_templates(), "LaunchTemplates", "LaunchTemplateId"),
            "classic load balancers": names(elb.describe_load_balancers(), "LoadBalancerDescriptions", "LoadBalancerName"),
            "load balancers": names(elbv2.describe_load_balancers(), "LoadBalancers", "LoadBalancerName"),
            "target groups": names(elbv2.describe_target_groups(), "TargetGroups", "TargetGroupName"),
            "targets": self.targets(),
            "secrets": names(self.clients["secretsmanager"].list_secrets(), "SecretList", "Name"),
            "buckets": names(self.clients["s3"].list_buckets(), "Buckets", "Name"),
        }

    def targets(self):
        """Returns what the load balancers lead to, as NAME:PORT."""
        elbv2 = self.clients["elbv2"]
        groups = [g["TargetGroupArn"] for g in elbv2.describe_target_groups()["TargetGroups"]]
        found = [t["Target"] for g in groups for t in elbv2.describe_target_health(TargetGroupArn=g)["TargetHealthDescriptions"]]
        return sorted(f"{t['Id']}:{t.get('Port', '')}" for t in found)

    def instances(self):
        """Returns the instances that are not ended."""
        there = self.clients["ec2"].describe_instances()
        return [i for r in there["Reservations"] for i in r["Instances"] if i["State"]["Name"] in ("pending", "running")]

    def delete_interfaces(self, names):
        for name in names:
            self.clients["ec2"].delete_network_interface(NetworkInterfaceId=name)

    def user_data(self, instance):
        """Returns what cloud-init would find in an instance: what was given to it, or is in the secrets that a script in that is to fetch."""
        found = self.clients["ec2"].describe_instance_attribute(InstanceId=instance, Attribute="userData")
        given = unzip(base64.b64decode(found["UserData"].get("Value", "")))
        prefix, chunks = re.search(r'^SECRET_PREFIX="(.+)"$', given, re.M), re.search(r'^CHUNKS="(\d+)"$', given, re.M)
        if not prefix:
            return given
        secrets = self.clients["secretsmanager"]
        parts = [secrets.get_secret_value(SecretId=f"{prefix[1]}-{n}")["SecretBinary"] for n in range(int(chunks[1]))]
        return unzip(b"".join(parts))


def unzip(data):
    return (gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data).decode()


def tell(url, event):
    """Tells what happens to a machine. Whoever hears it keeps what went wrong with it."""
    request = urllib.request.Request(url, json.dumps(event).encode(), {"Content-Type": "application/json"})
    try:
        urllib.request.urlopen(request, timeout=300).close()
    except OSError as e:
        print(f"telling that {event['id']} is {event['what']}: {e}", file=sys.stderr)


def watch(account, url):
    """Tells what happens to each instance, one after the other for each and beside those of others."""
    told, interfaces = {}, {}

    def happens(what, machine, after):
        if after:
            after.join()
        if what == "started":
            machine = {**machine, "userData": account.user_data(machine["id"])}
        tell(url, {**machine, "what": what})

    def begin(what, machine, after=None):
        thread = threading.Thread(target=happens, args=(what, machine, after), daemon=True)
        thread.start()
        return thread

    while True:
        there = {i["InstanceId"]: i for i in account.instances()}
        for name, i in there.items():
            if name not in told:
                tags = {t["Key"]: t["Value"] for t in i.get("Tags", [])}
                machine = {"id": name, "zone": i["Placement"]["AvailabilityZone"], "name": tags.get("Name", name)}
                told[name] = machine, begin("started", machine)
                interfaces[name] = [n["NetworkInterfaceId"] for n in i["NetworkInterfaces"]]
        for name in told.keys() - there.keys():
            begin("ended", *told.pop(name))
            account.delete_interfaces(interfaces.pop(name))
        time.sleep(LOOK)


def describe_target_groups(backend, load_balancer_arn, target_group_arns, names, describe=ELBv2Backend.describe_target_groups):
    """Is as in AWS, where a load balancer that leads to nothing has no target groups; to moto that is an error."""
    try:
        return describe(backend, load_balancer_arn, target_group_arns, names)
    except TargetGroupNotFoundError:
        if load_balancer_arn:
            return []
        raise


ELBv2Backend.describe_target_groups = describe_target_groups


def cores(kind):
    """Returns how many virtual CPUs an instance of a type has, as AWS says of it: cores, and threads of each."""
    has = INSTANCE_TYPES[kind]["VCpuInfo"]
    return {"CoreCount": has["DefaultCores"], "ThreadsPerCore": has["DefaultThreadsPerCore"]}


Instance.cpu_options = property(lambda self: cores(self.instance_type))  # which moto does not tell


class Limits:
    """What keeps the account from running instances: a refusal, by a code and a message of AWS, and a quota of virtual CPUs; nothing at first."""

    CODE = ("ec2", "L-1216C47A")  # of instances of the standard families
    MESSAGE = (
        "You have requested more vCPU capacity than your current vCPU limit of %d allows for the instance bucket that the specified instance "
        "type belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit."
    )

    def __init__(self):
        self.refusal, self.quota = {}, {}
        run, tell = InstanceBackend.run_instances, ServiceQuotasBackend.get_service_quota

        def run_instances(backend, image_id, count, *args, **kwargs):
            if self.refusal:
                raise EC2ClientError(self.refusal["code"], self.refusal["message"])
            most = self.quota.get("cores")
            if most is not None and self.used(backend) + count * self.of(kwargs["instance_type"]) > most:
                raise EC2ClientError("VcpuLimitExceeded", self.MESSAGE % most)
            return run(backend, image_id, count, *args, **kwargs)

        def get_service_quota(backend, service_code, quota_code):
            if self.quota and (service_code, quota_code) == self.CODE:
                return {"ServiceCode": service_code, "QuotaCode": quota_code, "Value": float(self.quota["cores"])}
            return tell(backend, service_code, quota_code)

        InstanceBackend.run_instances, ServiceQuotasBackend.get_service_quota = run_instances, get_service_quota

    @staticmethod
    def of(kind):
        has = cores(kind)
        return has["CoreCount"] * has["ThreadsPerCore"]

    def used(self, backend):
        there = [i for r in backend.reservations.values() for i in r.instances]
        return sum(self.of(i.instance_type) for i in there if i.state in ("pending", "running"))


def serve_desk(account, limits):
    """Serves what tests ask beside AWS, and returns where."""

    class Desk(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer({"/holds": account.holds, "/targets": account.targets}[self.path]())

        def do_POST(self):
            what = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            setattr(limits, {"/refusal": "refusal", "/quota": "quota"}[self.path], what)
            self.answer(what)

        def answer(self, what):
            body = json.dumps(what).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Desk)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machines", required=True, help="URL that is told what happens to machines")
    parser.add_argument("--balancers", help="address at which somebody serves what load balancers would")
    options = parser.parse_args()
    if options.balancers:
        FakeLoadBalancer.dns_name = property(lambda _: options.balancers, lambda *_: None)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # not every request
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    account = Account("http://%s:%d" % server.get_host_and_port())
    print(json.dumps({"url": account.url, "region": REGION, "key": account.key, "secret": account.secret, "desk": serve_desk(account, Limits())}), flush=True)
    watch(account, options.machines)


if __name__ == "__main__":
    main()
