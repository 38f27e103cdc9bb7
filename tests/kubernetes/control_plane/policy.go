package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

// Changes come in bursts; they are enforced together.
const policyDelay = 50 * time.Millisecond

// state is all that decides about the node's packets.
type state struct {
	pods       []*v1.Pod
	namespaces map[string]labels.Set
	policies   []*networking.NetworkPolicy
}

// enforcePolicies keeps the node's packet filter what the NetworkPolicies say: IPv4, TCP, UDP and SCTP, on the one node.
// A connection that exists goes on when the policies change, and a pod's first packets may be faster than its rules.
func enforcePolicies(kubeconfig string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	pods, namespaces := factory.Core().V1().Pods(), factory.Core().V1().Namespaces()
	policies := factory.Networking().V1().NetworkPolicies()
	changed := make(chan struct{}, 1)
	tell := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { tell() },
		UpdateFunc: func(any, any) { tell() },
		DeleteFunc: func(any) { tell() },
	}
	for _, informer := range []cache.SharedIndexInformer{pods.Informer(), namespaces.Informer(), policies.Informer()} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return err
		}
	}
	ctx := context.Background()
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	last := ""
	for range changed {
		time.Sleep(policyDelay)
		now := state{namespaces: map[string]labels.Set{}}
		if now.pods, err = pods.Lister().List(labels.Everything()); err != nil {
			return err
		}
		if now.policies, err = policies.Lister().List(labels.Everything()); err != nil {
			return err
		}
		known, err := namespaces.Lister().List(labels.Everything())
		if err != nil {
			return err
		}
		for _, namespace := range known {
			now.namespaces[namespace.Name] = namespace.Labels
		}
		if rules := now.rules(); rules != last {
			load := exec.Command("nft", "--file", "-")
			load.Stdin, load.Stdout, load.Stderr = strings.NewReader(rules), os.Stdout, os.Stderr
			if err := load.Run(); err != nil {
				return fmt.Errorf("%w: %s", err, rules)
			}
			last = rules
		}
	}
	return nil
}

// rules is the whole table as text. A chain a pod and direction returns what is allowed and drops the rest, so that a packet
// has to pass the sender's and the receiver's.
func (now state) rules() string {
	var out, in, chains []string
	pods := slices.Clone(now.pods)
	slices.SortFunc(pods, func(a, b *v1.Pod) int { return strings.Compare(string(a.UID), string(b.UID)) })
	for _, pod := range pods {
		if !hasAddress(pod) {
			continue
		}
		address := pod.Status.PodIP
		name := strings.ReplaceAll(address, ".", "_")
		if lines, isolated := now.direction(pod, networking.PolicyTypeEgress); isolated {
			out = append(out, fmt.Sprintf("%s : jump out_%s", address, name))
			chains = append(chains, chain("out_"+name, append([]string{"ip daddr " + address + " return"}, lines...)))
		}
		if lines, isolated := now.direction(pod, networking.PolicyTypeIngress); isolated {
			in = append(in, fmt.Sprintf("%s : jump in_%s", address, name))
			chains = append(chains, chain("in_"+name, append([]string{"ip saddr " + address + " return"}, lines...)))
		}
	}
	base := []string{"ct state established,related accept"}
	leaving, arriving := verdicts("saddr", out), verdicts("daddr", in)
	table := strings.Join(chains, "")
	table += "chain forward {\ntype filter hook forward priority filter;\n" + join(base, leaving, arriving) + "}\n"
	// What goes to the node itself, such as the API server; what comes from it, such as a probe, is always allowed.
	table += "chain input {\ntype filter hook input priority filter;\n" + join(base, leaving) + "}\n"
	return "table inet paictl_policy {}\ndelete table inet paictl_policy\ntable inet paictl_policy {\n" + table + "}\n"
}

// direction is one pod's allowed packets, and whether any policy isolates it at all.
func (now state) direction(pod *v1.Pod, kind networking.PolicyType) ([]string, bool) {
	var lines []string
	isolated := false
	for _, policy := range now.policies {
		if policy.Namespace != pod.Namespace || !slices.Contains(policy.Spec.PolicyTypes, kind) ||
			!matches(&policy.Spec.PodSelector, pod.Labels) {
			continue
		}
		isolated = true
		if kind == networking.PolicyTypeEgress {
			for _, rule := range policy.Spec.Egress {
				lines = append(lines, now.allowed(policy.Namespace, "daddr", rule.To, rule.Ports, nil)...)
			}
		} else {
			for _, rule := range policy.Spec.Ingress {
				lines = append(lines, now.allowed(policy.Namespace, "saddr", rule.From, rule.Ports, pod)...)
			}
		}
	}
	slices.Sort(lines)
	return append(slices.Compact(lines), "drop"), isolated
}

// allowed is one rule as lines. “target“ has the named ports; without it, each peer has its own.
func (now state) allowed(
	namespace, side string, peers []networking.NetworkPolicyPeer, ports []networking.NetworkPolicyPort, target *v1.Pod,
) []string {
	if len(peers) == 0 {
		return withPorts("", ports, target)
	}
	var lines []string
	for _, peer := range peers {
		if block := peer.IPBlock; block != nil {
			if strings.Contains(block.CIDR, ":") {
				continue // pods have addresses of IPv4 only: nothing of IPv6 ever leaves or reaches them
			}
			match := fmt.Sprintf("ip %s %s ", side, block.CIDR)
			if len(block.Except) > 0 {
				match += fmt.Sprintf("ip %s != { %s } ", side, strings.Join(block.Except, ", "))
			}
			lines = append(lines, withPorts(match, ports, target)...)
			continue
		}
		for _, other := range now.pods {
			if hasAddress(other) && now.selects(namespace, peer, other) {
				owner := target
				if owner == nil {
					owner = other
				}
				lines = append(lines, withPorts(fmt.Sprintf("ip %s %s ", side, other.Status.PodIP), ports, owner)...)
			}
		}
	}
	return lines
}

func (now state) selects(namespace string, peer networking.NetworkPolicyPeer, pod *v1.Pod) bool {
	if peer.NamespaceSelector == nil {
		if pod.Namespace != namespace {
			return false
		}
	} else if !matches(peer.NamespaceSelector, now.namespaces[pod.Namespace]) {
		return false
	}
	return peer.PodSelector == nil || matches(peer.PodSelector, pod.Labels)
}

func withPorts(match string, ports []networking.NetworkPolicyPort, owner *v1.Pod) []string {
	if len(ports) == 0 {
		return []string{match + "return"}
	}
	var lines []string
	for _, port := range ports {
		protocol := v1.ProtocolTCP
		if port.Protocol != nil {
			protocol = *port.Protocol
		}
		lower := strings.ToLower(string(protocol))
		switch {
		case port.Port == nil:
			lines = append(lines, fmt.Sprintf("%smeta l4proto %s return", match, lower))
		case port.Port.Type == intstr.String:
			for _, number := range named(owner, port.Port.StrVal, protocol) {
				lines = append(lines, fmt.Sprintf("%s%s dport %d return", match, lower, number))
			}
		case port.EndPort != nil:
			lines = append(lines, fmt.Sprintf("%s%s dport %d-%d return", match, lower, port.Port.IntVal, *port.EndPort))
		default:
			lines = append(lines, fmt.Sprintf("%s%s dport %d return", match, lower, port.Port.IntVal))
		}
	}
	return lines
}

func named(pod *v1.Pod, name string, protocol v1.Protocol) []int32 {
	var found []int32
	if pod != nil {
		for _, container := range pod.Spec.Containers {
			for _, port := range container.Ports {
				if port.Name == name && port.Protocol == protocol {
					found = append(found, port.ContainerPort)
				}
			}
		}
	}
	return found
}

func matches(selector *metav1.LabelSelector, set labels.Set) bool {
	made, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && made.Matches(set)
}

func hasAddress(pod *v1.Pod) bool {
	over := pod.Status.Phase == v1.PodSucceeded || pod.Status.Phase == v1.PodFailed
	return pod.Status.PodIP != "" && !pod.Spec.HostNetwork && !over
}

func chain(name string, lines []string) string {
	return fmt.Sprintf("chain %s {\n%s}\n", name, join(lines))
}

func verdicts(side string, jumps []string) []string {
	if len(jumps) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("ip %s vmap { %s }", side, strings.Join(jumps, ", "))}
}

func join(parts ...[]string) string {
	text := ""
	for _, lines := range parts {
		for _, line := range lines {
			text += line + "\n"
		}
	}
	return text
}
